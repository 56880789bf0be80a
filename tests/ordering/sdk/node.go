package sdk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"consilium/tests/ordering/network"
)

// nodeFolder is where the SDK for Node is installed, as seen from the tests.
const nodeFolder = "../node"

// node runs the SDK for Node in a child process, which prints one line of JSON per transaction.
type node struct {
	config string
}

// access is what a client of a peer's gateway needs, as load.mjs reads it.
type access struct {
	Address        string `json:"address"`
	MSPID          string `json:"mspId"`
	Certificate    string `json:"certificate"`
	Key            string `json:"key"`
	TLSRoot        string `json:"tlsRoot"`
	TLSCertificate string `json:"tlsCertificate"`
	TLSKey         string `json:"tlsKey"`
}

func newNode(t testing.TB, net *network.Network, clients int) kit {
	t.Helper()
	if _, err := os.Stat(filepath.Join(nodeFolder, "node_modules", "@hyperledger", "fabric-gateway")); err != nil {
		t.Fatalf("the SDK for Node is missing: npm ci --prefix tests/node (%v)", err)
	}
	var gateways []access
	for _, peer := range net.Peers {
		person, certificate := peer.Organization.Client, peer.Organization.ClientTLS
		key, err := person.KeyPEM()
		must(t, err)
		tlsKey, err := certificate.KeyPEM()
		must(t, err)
		gateways = append(gateways, access{
			Address: peer.Address(), MSPID: person.MSPID,
			Certificate: string(person.CertPEM()), Key: string(key),
			TLSRoot:        string(peer.Organization.TLSCA.CertPEM()),
			TLSCertificate: string(certificate.CertPEM()), TLSKey: string(tlsKey),
		})
	}
	config, err := json.Marshal(map[string]any{
		"channel": net.Channel, "chaincode": network.Chaincode, "gateways": gateways, "clients": clients,
		"pace": Pace.Milliseconds(), "pause": Pause.Milliseconds(),
		"endorseTimeout": endorseTimeout.Milliseconds(), "submitTimeout": submitTimeout.Milliseconds(),
		"commitTimeout": commitTimeout.Milliseconds(),
	})
	must(t, err)
	path := filepath.Join(t.TempDir(), "load.json")
	must(t, os.WriteFile(path, config, 0o600))
	return &node{config: path}
}

func (n *node) name() string { return "SDK for Node" }

func (n *node) run(ctx context.Context, report func(Outcome)) error {
	command := exec.Command("node", filepath.Join(nodeFolder, "load.mjs"), n.config)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said := &bytes.Buffer{}
	command.Stderr = said
	input, err := command.StdinPipe()
	if err != nil {
		return err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	// The end of its input tells it to stop.
	defer context.AfterFunc(ctx, func() { _ = input.Close() })()
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var outcome Outcome
		if err := json.Unmarshal(lines.Bytes(), &outcome); err != nil {
			_ = command.Process.Kill()
			_ = command.Wait()
			return fmt.Errorf("line %.200q: %w", lines.Text(), err)
		}
		report(outcome)
	}
	if err := command.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return lines.Err()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
