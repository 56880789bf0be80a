package network

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// FabricPeer is a peer of Fabric, a member of an organization whose other peer is ours.
type FabricPeer struct {
	*Terminal
	// Settings are CORE_… variables that come after the usual ones; they count from the next start on.
	Settings []string
	home     string
	ports    [3]int
	Running  *Process
}

var enrolled atomic.Int64

// enroll makes a peer a member of the organization; its certificates come to a folder of their own.
func enroll(t testing.TB, org Organization) string {
	t.Helper()
	home := t.TempDir()
	name := fmt.Sprintf("another%d-%d", os.Getpid(), enrolled.Add(1))
	enroll := exec.Command("node", "../../node/enroll-peer.mjs", org.Name, name, home)
	if printed, err := enroll.CombinedOutput(); err != nil {
		t.Fatalf("enrolling the peer: %v\n%s", err, printed)
	}
	return home
}

// NewFabricPeer enrols a peer with the organization's CA and starts it.
func NewFabricPeer(t testing.TB, net *Network, org Organization, settings ...string) *FabricPeer {
	t.Helper()
	home := enroll(t, org)
	made := &FabricPeer{home: home, Settings: settings, ports: [3]int{FreePort(t), FreePort(t), FreePort(t)}}
	made.Terminal = net.Admin(t, org).At(made.endpoint())
	builders, err := filepath.Abs("../../builders")
	Must(t, err)
	Must(t, os.Mkdir(filepath.Join(home, "config"), 0o700))
	Must(t, os.WriteFile(filepath.Join(home, "config", "core.yaml"), []byte(strings.ReplaceAll(coreYAML, "BUILDERS", builders)), 0o600))
	made.Start(t)
	return made
}

func (p *FabricPeer) endpoint() string { return fmt.Sprintf("localhost:%d", p.ports[0]) }

// Start starts the process and waits until it answers.
func (p *FabricPeer) Start(t testing.TB) {
	t.Helper()
	root := filepath.Join(p.Net.Dir, "organizations", p.Org.Domain, "msp", "tlscacerts", "tlsca-cert.pem")
	environment := append(os.Environ(),
		"FABRIC_CFG_PATH="+filepath.Join(p.home, "config"),
		"FABRIC_LOGGING_SPEC=info:grpc=error",
		"CORE_PEER_ID=fabric", "CORE_PEER_NETWORKID="+p.Net.Channel,
		fmt.Sprintf("CORE_PEER_LISTENADDRESS=127.0.0.1:%d", p.ports[0]),
		"CORE_PEER_ADDRESS="+p.endpoint(),
		fmt.Sprintf("CORE_PEER_CHAINCODELISTENADDRESS=127.0.0.1:%d", p.ports[1]),
		fmt.Sprintf("CORE_OPERATIONS_LISTENADDRESS=127.0.0.1:%d", p.ports[2]),
		"CORE_PEER_GOSSIP_EXTERNALENDPOINT="+p.endpoint(), "CORE_PEER_GOSSIP_BOOTSTRAP="+p.endpoint(),
		"CORE_PEER_LOCALMSPID="+p.Org.MSPID, "CORE_PEER_MSPCONFIGPATH="+filepath.Join(p.home, "msp"),
		"CORE_PEER_FILESYSTEMPATH="+filepath.Join(p.home, "data"),
		"CORE_LEDGER_SNAPSHOTS_ROOTDIR="+filepath.Join(p.home, "snapshots"),
		"CORE_PEER_TLS_ENABLED=true", "CORE_PEER_TLS_CLIENTAUTHREQUIRED=true",
		"CORE_PEER_TLS_CERT_FILE="+filepath.Join(p.home, "tls", "server.crt"),
		"CORE_PEER_TLS_KEY_FILE="+filepath.Join(p.home, "tls", "server.key"),
		"CORE_PEER_TLS_ROOTCERT_FILE="+root, "CORE_PEER_TLS_CLIENTROOTCAS_FILES="+root,
	)
	environment = append(environment, p.Settings...)
	log := filepath.Join(p.home, "log")
	p.Running = Start(t, log, environment, filepath.Join(programs, "peer"), "node", "start")
	showAtFailure(t, "the Fabric peer", log)
	p.answers(t)
}

// IsLeader is whether the peer pulls blocks for its organization.
func (p *FabricPeer) IsLeader() (bool, error) { return p.Net.leads(p.ports[2]) }

// answers waits until a peer that starts answers.
func (c *Terminal) answers(t testing.TB) {
	t.Helper()
	Eventually(t, "the peer at "+c.Address+" answers", func() error {
		_, said, err := c.Try(t, "channel", "list")
		if err != nil {
			return fmt.Errorf("%w: %s", err, said)
		}
		return nil
	})
}

func showAtFailure(t testing.TB, who, log string) {
	t.Cleanup(func() {
		if t.Failed() {
			said, _ := os.ReadFile(log)
			t.Logf("%s said at last:\n%s", who, said[max(0, len(said)-6000):])
		}
	})
}

// What a Fabric peer needs beyond its environment: the rest of Fabric's sample, shortened.
const coreYAML = `
peer:
  BCCSP: {Default: SW, SW: {Hash: SHA2, Security: 256}}
  keepalive: {minInterval: 60s}
  gossip:
    orgLeader: true
    useLeaderElection: false
    dialTimeout: 3s
    aliveTimeInterval: 2s
    aliveExpirationTimeout: 10s
    reconnectInterval: 2s
    stateInfoRetentionInterval: 0s
    publishStateInfoInterval: 1s
    requestStateInfoInterval: 1s
    pullInterval: 1s
    digestWaitTime: 500ms
    requestWaitTime: 500ms
    responseWaitTime: 1s
    membershipTrackerInterval: 1s
    maxPropagationBurstLatency: 10ms
    maxPropagationBurstSize: 10
    propagateIterations: 1
    propagatePeerNum: 3
    connTimeout: 2s
    recvBuffSize: 20
    sendBuffSize: 200
    maxBlockCountToStore: 10
    state: {enabled: true, checkInterval: 1s, responseTimeout: 3s, batchSize: 10, blockBufferSize: 20, maxRetries: 3}
    pvtData:
      pullRetryThreshold: 10s
      transientstoreMaxBlockRetention: 1000
      pushAckTimeout: 3s
      btlPullMargin: 10
      reconcileBatchSize: 10
      reconcileSleepInterval: 2s
      reconciliationEnabled: true
      skipPullingInvalidTransactionsDuringCommit: false
      implicitCollectionDisseminationPolicy: {requiredPeerCount: 0, maxPeerCount: 1}
  authentication: {timewindow: 15m}
  discovery: {enabled: true, authCacheEnabled: true, authCacheMaxSize: 1000, authCachePurgeRetentionRatio: 0.75, orgMembersAllowedAccess: false}
  gateway: {enabled: true, endorsementTimeout: 30s, broadcastTimeout: 30s, dialTimeout: 10s}
  handlers:
    authFilters: [{name: DefaultAuth}, {name: ExpirationCheck}]
    decorators: [{name: DefaultDecorator}]
    endorsers: {escc: {name: DefaultEndorsement}}
    validators: {vscc: {name: DefaultValidation}}
  limits: {concurrency: {endorserService: 2500, deliverService: 2500, gatewayService: 500}}
  maxRecvMsgSize: 104857600
  maxSendMsgSize: 104857600
vm: {endpoint: ""}
chaincode:
  externalBuilders:
    - {name: service, path: BUILDERS/service}
    - {name: golang, path: BUILDERS/golang, propagateEnvironment: [HOME, GOCACHE, GOFLAGS, GOMODCACHE, GOPATH, GOPROXY]}
  installTimeout: 300s
  startuptimeout: 60s
  executetimeout: 30s
  mode: net
  keepalive: 0
  system: {_lifecycle: enable, cscc: enable, lscc: enable, qscc: enable}
  logging: {level: info, shim: warning}
ledger:
  state: {stateDatabase: goleveldb, totalQueryLimit: 100000}
  history: {enableHistoryDatabase: true}
  pvtdataStore: {collElgProcMaxDbBatchSize: 5000, collElgProcDbBatchesInterval: 1000, deprioritizedDataReconcilerInterval: 60m, purgeInterval: 100, purgedKeyAuditLogging: true}
operations: {tls: {enabled: false}}
metrics: {provider: prometheus}
`
