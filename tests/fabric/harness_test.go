package fabric_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"
)

// The network under test, as `consilium network up` wrote it down.
type network struct {
	dir           string
	Channel       string
	Organizations []organization
}

type organization struct {
	Name   string
	MSPID  string `json:"msp_id"`
	Domain string
	Ports  struct{ Orderer, Peer int }
}

// The programs of Fabric.
var programs = os.Getenv("FABRIC_BIN")

func loadNetwork(t *testing.T) *network {
	t.Helper()
	dir := os.Getenv("NETWORK_DIR")
	if dir == "" || programs == "" {
		t.Fatal("set NETWORK_DIR to the folder of a running network and FABRIC_BIN to that of Fabric's programs")
	}
	text, err := os.ReadFile(filepath.Join(dir, "network.json"))
	must(t, err)
	read := &network{dir: dir}
	must(t, json.Unmarshal(text, read))
	return read
}

func (n *network) organization(t *testing.T, name string) organization {
	t.Helper()
	for _, found := range n.Organizations {
		if found.Name == name {
			return found
		}
	}
	t.Fatalf("no organization %s", name)
	return organization{}
}

func (n *network) user(org organization, name string) string {
	return filepath.Join(n.dir, "organizations", org.Domain, "users", name+"@"+org.Domain)
}

func (n *network) tlsRoot(org organization) string {
	return filepath.Join(n.user(org, "Admin"), "tls", "ca.crt")
}

// A person of an organization at a terminal, whose commands go to one peer.
type terminal struct {
	net     *network
	org     organization
	address string
	config  string
}

// The administrator of org before its peer of ours.
func (n *network) admin(t *testing.T, org organization) *terminal {
	t.Helper()
	return &terminal{net: n, org: org, address: fmt.Sprintf("localhost:%d", org.Ports.Peer), config: toolConfig(t)}
}

// The same person before another peer of the organization.
func (c *terminal) at(address string) *terminal {
	other := *c
	other.address = address
	return &other
}

// A core.yaml for the tools, who take what matters from the environment.
func toolConfig(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "core.yaml"), []byte("peer:\n  BCCSP:\n    Default: SW\n    SW: {Hash: SHA2, Security: 256}\n  client: {connTimeout: 10s}\n"), 0o600))
	return dir
}

func (c *terminal) environment() []string {
	user := c.net.user(c.org, "Admin")
	return append(os.Environ(),
		"FABRIC_CFG_PATH="+c.config,
		"FABRIC_LOGGING_SPEC=info:grpc=fatal",
		"CORE_PEER_LOCALMSPID="+c.org.MSPID,
		"CORE_PEER_MSPCONFIGPATH="+filepath.Join(user, "msp"),
		"CORE_PEER_ADDRESS="+c.address,
		"CORE_PEER_TLS_ENABLED=true",
		"CORE_PEER_TLS_CLIENTAUTHREQUIRED=true",
		"CORE_PEER_TLS_ROOTCERT_FILE="+filepath.Join(user, "tls", "ca.crt"),
		"CORE_PEER_TLS_CLIENTCERT_FILE="+filepath.Join(user, "tls", "client.crt"),
		"CORE_PEER_TLS_CLIENTKEY_FILE="+filepath.Join(user, "tls", "client.key"),
	)
}

// The flags that name an orderer.
func (c *terminal) orderer() []string {
	user := c.net.user(c.org, "Admin")
	return []string{
		"-o", fmt.Sprintf("localhost:%d", c.org.Ports.Orderer), "--tls",
		"--cafile", filepath.Join(user, "tls", "ca.crt"), "--clientauth",
		"--certfile", filepath.Join(user, "tls", "client.crt"),
		"--keyfile", filepath.Join(user, "tls", "client.key"),
	}
}

// Runs Fabric's `peer` and gives what it printed and whether it was content.
func (c *terminal) try(t *testing.T, args ...string) (string, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(programs, "peer"), args...)
	command.Env = c.environment()
	var out, errors bytes.Buffer
	command.Stdout, command.Stderr = &out, &errors
	err := command.Run()
	return out.String(), errors.String(), err
}

// Runs Fabric's `peer`, which has to succeed.
func (c *terminal) peer(t *testing.T, args ...string) (string, string) {
	t.Helper()
	out, errors, err := c.try(t, args...)
	if err != nil {
		t.Fatalf("peer %s: %v\n%s%s", strings.Join(args, " "), err, out, errors)
	}
	return out, errors
}

// Block number of the channel, as the peer keeps it.
func (c *terminal) block(t *testing.T, number uint64) *common.Block {
	t.Helper()
	file := filepath.Join(t.TempDir(), "block")
	c.peer(t, "channel", "fetch", fmt.Sprint(number), file, "-c", c.net.Channel)
	read, err := os.ReadFile(file)
	must(t, err)
	block := &common.Block{}
	must(t, proto.Unmarshal(read, block))
	return block
}

var heightOf = regexp.MustCompile(`"height":(\d+)`)

// Height of the channel at the peer, or why there is none.
func (c *terminal) height(t *testing.T) (uint64, error) {
	t.Helper()
	out, errors, err := c.try(t, "channel", "getinfo", "-c", c.net.Channel)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, errors)
	}
	var height uint64
	_, err = fmt.Sscan(heightOf.FindStringSubmatch(out)[1], &height)
	return height, err
}

// A program that runs until the test ends.
type process struct {
	command *exec.Cmd
	gone    chan struct{}
	log     string
}

func start(t *testing.T, log string, environment []string, name string, args ...string) *process {
	t.Helper()
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	command := exec.Command(name, args...)
	command.Env, command.Stdout, command.Stderr = environment, file, file
	must(t, command.Start())
	file.Close()
	started := &process{command: command, gone: make(chan struct{}), log: log}
	go func() {
		_ = command.Wait()
		close(started.gone)
	}()
	t.Cleanup(started.kill)
	return started
}

func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.gone
}

// Waits, for at most two minutes, until check is content.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var last error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if last = check(); last == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, last)
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
