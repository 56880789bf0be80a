// Package network is a running network of `consilium network up`, and Fabric's programs before it.
package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"
)

// Network is the network under test, as `consilium network up` wrote it down.
type Network struct {
	Dir           string
	Channel       string
	Organizations []Organization
}

// Organization is a member of the consortium.
type Organization struct {
	Name   string
	MSPID  string `json:"msp_id"`
	Domain string
	Ports  struct {
		Orderer, Peer     int
		OrdererOperations int `json:"orderer_operations"`
		OrdererAdmin      int `json:"orderer_admin"`
	}
	HasOrderer bool `json:"has_orderer"`
}

// The programs of Fabric.
var programs = os.Getenv("FABRIC_BIN")

// Load reads what the environment names.
func Load(t testing.TB) *Network {
	t.Helper()
	dir := os.Getenv("NETWORK_DIR")
	if dir == "" || programs == "" {
		t.Fatal("set NETWORK_DIR to the folder of a running network and FABRIC_BIN to that of Fabric's programs")
	}
	text, err := os.ReadFile(filepath.Join(dir, "network.json"))
	Must(t, err)
	read := &Network{Dir: dir}
	Must(t, json.Unmarshal(text, read))
	return read
}

// Organization of that name.
func (n *Network) Organization(t testing.TB, name string) Organization {
	t.Helper()
	for _, found := range n.Organizations {
		if found.Name == name {
			return found
		}
	}
	t.Fatalf("no organization %s", name)
	return Organization{}
}

// User is the folder of a person of org.
func (n *Network) User(org Organization, name string) string {
	return filepath.Join(n.Dir, "organizations", org.Domain, "users", name+"@"+org.Domain)
}

// TLSRoot is the file with the certificates that vouch for servers of org.
func (n *Network) TLSRoot(org Organization) string {
	return filepath.Join(n.User(org, "Admin"), "tls", "ca.crt")
}

// Terminal is a person of an organization at a terminal, whose commands go to one peer.
type Terminal struct {
	Net     *Network
	Org     Organization
	Address string
	config  string
	// Folder of other programs than Fabric's.
	programs string
	// Besides those that say who and where.
	variables []string
}

// Admin is the administrator of org before its peer of ours.
func (n *Network) Admin(t testing.TB, org Organization) *Terminal {
	t.Helper()
	return &Terminal{Net: n, Org: org, Address: fmt.Sprintf("localhost:%d", org.Ports.Peer), config: toolConfig(t)}
}

// At is the same person before another peer of the organization.
func (c *Terminal) At(address string) *Terminal {
	other := *c
	other.Address = address
	return &other
}

// A core.yaml for the tools, who take what matters from the environment.
func toolConfig(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	Must(t, os.WriteFile(filepath.Join(dir, "core.yaml"), []byte("peer:\n  BCCSP:\n    Default: SW\n    SW: {Hash: SHA2, Security: 256}\n  client: {connTimeout: 10s}\n"), 0o600))
	return dir
}

func (c *Terminal) environment() []string {
	user := c.Net.User(c.Org, "Admin")
	return append(os.Environ(),
		"FABRIC_CFG_PATH="+c.config,
		"FABRIC_LOGGING_SPEC=info:grpc=fatal",
		"CORE_PEER_LOCALMSPID="+c.Org.MSPID,
		"CORE_PEER_MSPCONFIGPATH="+filepath.Join(user, "msp"),
		"CORE_PEER_ADDRESS="+c.Address,
		"CORE_PEER_TLS_ENABLED=true",
		"CORE_PEER_TLS_CLIENTAUTHREQUIRED=true",
		"CORE_PEER_TLS_ROOTCERT_FILE="+filepath.Join(user, "tls", "ca.crt"),
		"CORE_PEER_TLS_CLIENTCERT_FILE="+filepath.Join(user, "tls", "client.crt"),
		"CORE_PEER_TLS_CLIENTKEY_FILE="+filepath.Join(user, "tls", "client.key"),
	)
}

// Orderer are the flags that name an orderer.
func (c *Terminal) Orderer() []string {
	user := c.Net.User(c.Org, "Admin")
	return []string{
		"-o", fmt.Sprintf("localhost:%d", c.Org.Ports.Orderer), "--tls",
		"--cafile", filepath.Join(user, "tls", "ca.crt"), "--clientauth",
		"--certfile", filepath.Join(user, "tls", "client.crt"),
		"--keyfile", filepath.Join(user, "tls", "client.key"),
		// The usual three seconds are short on a machine that builds meanwhile.
		"--connTimeout", "30s",
	}
}

// Try runs Fabric's `peer` and gives what it printed and whether it was content. Installing may compile.
func (c *Terminal) Try(t testing.TB, args ...string) (string, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, c.program("peer"), args...)
	command.Env = append(c.environment(), c.variables...)
	var out, errors bytes.Buffer
	command.Stdout, command.Stderr = &out, &errors
	err := command.Run()
	return out.String(), errors.String(), err
}

// Peer runs Fabric's `peer`, which has to succeed.
func (c *Terminal) Peer(t testing.TB, args ...string) (string, string) {
	t.Helper()
	out, errors, err := c.Try(t, args...)
	if err != nil {
		t.Fatalf("peer %s: %v\n%s%s", strings.Join(args, " "), err, out, errors)
	}
	return out, errors
}

// Block is the block of that number of the channel, as the peer keeps it.
func (c *Terminal) Block(t testing.TB, number uint64) *common.Block {
	t.Helper()
	file := filepath.Join(t.TempDir(), "block")
	c.Peer(t, "channel", "fetch", fmt.Sprint(number), file, "-c", c.Net.Channel)
	read, err := os.ReadFile(file)
	Must(t, err)
	block := &common.Block{}
	Must(t, proto.Unmarshal(read, block))
	return block
}

var heightOf = regexp.MustCompile(`"height":(\d+)`)

// Height is that of the channel at the peer, or why there is none.
func (c *Terminal) Height(t testing.TB) (uint64, error) {
	t.Helper()
	out, errors, err := c.Try(t, "channel", "getinfo", "-c", c.Net.Channel)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, errors)
	}
	var height uint64
	_, err = fmt.Sscan(heightOf.FindStringSubmatch(out)[1], &height)
	return height, err
}

// The program under test.
func consilium(t testing.TB) string {
	t.Helper()
	found := os.Getenv("CONSILIUM")
	if found == "" {
		t.Fatal("set CONSILIUM to the consilium program")
	}
	return found
}

// leads asks a peer's operations server whether the peer pulls the channel's blocks for its organization.
func (n *Network) leads(port int) (bool, error) {
	lines, err := metrics(port)
	if err != nil {
		return false, err
	}
	shown := fmt.Sprintf("gossip_leader_election_leader{channel=%q} ", n.Channel)
	for _, line := range lines {
		if value, found := strings.CutPrefix(line, shown); found {
			return value == "1", nil
		}
	}
	return false, errors.New("no metric says who leads")
}

// metrics gives the lines that a node's operations server shows.
func metrics(port int) ([]string, error) {
	asking := http.Client{Timeout: 10 * time.Second}
	answer, err := asking.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<24))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return strings.Split(string(text), "\n"), err
}

// Process is a program that runs until the test ends.
type Process struct {
	command *exec.Cmd
	gone    chan struct{}
	log     string
}

// Start runs a program until the test ends; what it says goes to the end of a file.
func Start(t testing.TB, log string, environment []string, name string, args ...string) *Process {
	t.Helper()
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	Must(t, err)
	command := exec.Command(name, args...)
	command.Env, command.Stdout, command.Stderr = environment, file, file
	Must(t, command.Start())
	file.Close()
	started := &Process{command: command, gone: make(chan struct{}), log: log}
	go func() {
		_ = command.Wait()
		close(started.gone)
	}()
	t.Cleanup(started.Kill)
	return started
}

func (p *Process) Kill() {
	_ = p.command.Process.Kill()
	<-p.gone
}

// Eventually waits, for at most two minutes, until check is content.
func Eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	var last error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if last = check(); last == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, last)
}

var givenPorts sync.Map

// FreePort is one that nothing listens on now, and that was not given before: what is closed here may be
// the next one that the system gives.
func FreePort(t testing.TB) int {
	t.Helper()
	for {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Must(t, err)
		port := listener.Addr().(*net.TCPAddr).Port
		Must(t, listener.Close())
		if _, given := givenPorts.LoadOrStore(port, true); !given {
			return port
		}
	}
}

// Must stops the test at an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
