package network

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// OwnPeer is one more peer of ours in an organization.
type OwnPeer struct {
	*Terminal
	// Gossip are lines of peer.gossip in core.yaml; they count from the next start on.
	Gossip  []string
	home    string
	ports   [2]int
	Running *Process
}

// NewOwnPeer enrols a peer with the organization's CA and starts it.
func NewOwnPeer(t testing.TB, net *Network, org Organization, gossip ...string) *OwnPeer {
	t.Helper()
	made := &OwnPeer{home: enroll(t, org), Gossip: gossip, ports: [2]int{FreePort(t), FreePort(t)}}
	made.Terminal = net.Admin(t, org).At(fmt.Sprintf("localhost:%d", made.ports[0]))
	made.Start(t)
	return made
}

// Start starts the process and waits until it answers.
func (p *OwnPeer) Start(t testing.TB) {
	t.Helper()
	yaml := strings.NewReplacer(
		"ADDRESS", p.Address, "PORT", fmt.Sprint(p.ports[0]), "OPERATIONS", fmt.Sprint(p.ports[1]), "MSPID", p.Org.MSPID,
		"ROOT", filepath.Join(p.Net.Dir, "organizations", p.Org.Domain, "msp", "tlscacerts", "tlsca-cert.pem"),
		"GOSSIP", strings.Join(p.Gossip, "\n    "),
	).Replace(ownYAML)
	config := filepath.Join(p.home, "core.yaml")
	Must(t, os.WriteFile(config, []byte(yaml), 0o600))
	log := filepath.Join(p.home, "log")
	environment := append(os.Environ(), "FABRIC_LOGGING_SPEC=gossip=debug:info")
	p.Running = Start(t, log, environment, consilium(t), "peer", "start", "--config", config)
	showAtFailure(t, "our peer", log)
	p.answers(t)
}

// IsLeader is whether the peer pulls blocks for its organization.
func (p *OwnPeer) IsLeader() (bool, error) { return p.Net.leads(p.ports[1]) }

const ownYAML = `
peer:
  id: another
  listenAddress: 127.0.0.1:PORT
  address: ADDRESS
  mspConfigPath: msp
  localMspId: MSPID
  fileSystemPath: data
  gossip:
    externalEndpoint: ADDRESS
    aliveTimeInterval: 2s
    aliveExpirationTimeout: 10s
    reconnectInterval: 2s
    publishStateInfoInterval: 1s
    requestStateInfoInterval: 1s
    pullInterval: 2s
    digestWaitTime: 500ms
    responseWaitTime: 1s
    GOSSIP
  tls:
    enabled: true
    clientAuthRequired: true
    cert: {file: tls/server.crt}
    key: {file: tls/server.key}
    rootcert: {file: ROOT}
    clientRootCAs: {files: [ROOT]}
operations:
  listenAddress: 127.0.0.1:OPERATIONS
`
