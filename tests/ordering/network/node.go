package network

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	"github.com/hyperledger/fabric-config/configtx/orderer"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/pki"
)

const (
	startDeadline = 30 * time.Second
	stopDeadline  = 20 * time.Second
	// serving is what a node logs once it can be called.
	serving = "Beginning to serve requests"
)

// Node is an ordering node: its identity, its folder and its process.
type Node struct {
	Name         string
	Organization *Organization
	Host         string
	Port         int
	AdminPort    int
	MetricsPort  int
	// TLS is both what its listener shows and what it shows to other nodes.
	TLS *pki.Credential
	// Launcher is put before the command line, to run the node in a network namespace.
	Launcher []string

	folder  string
	binary  string
	process *exec.Cmd
	exited  chan struct{}
}

// Address is where the node serves gRPC.
func (n *Node) Address() string { return net.JoinHostPort(n.Host, strconv.Itoa(n.Port)) }

// DataFolder is where the node keeps its channels.
func (n *Node) DataFolder() string { return filepath.Join(n.folder, "data") }

// Endpoint is the address as fabric-config wants it.
func (n *Node) Endpoint() configtx.Address { return configtx.Address{Host: n.Host, Port: n.Port} }

// Consenter is the node's entry in the list of consenters.
func (n *Node) Consenter() orderer.Consenter {
	return orderer.Consenter{
		Address:       orderer.EtcdAddress{Host: n.Host, Port: n.Port},
		ClientTLSCert: n.TLS.Cert,
		ServerTLSCert: n.TLS.Cert,
	}
}

// prepare writes everything that the node reads at its start.
func (n *Node) prepare(t testing.TB) {
	t.Helper()
	n.Organization.writeMSP(t, filepath.Join(n.folder, "msp"), n.Organization.issue(t, pki.Subject{
		CommonName: n.Name, Unit: "orderer",
	}))
	write(t, filepath.Join(n.folder, "tls", "ca.crt"), n.Organization.TLSCA.CertPEM())
	n.UseTLS(t, n.TLS)
	write(t, filepath.Join(n.folder, "orderer.yaml"), fmt.Appendf(nil, `General:
  ListenAddress: %[1]s
  ListenPort: %[2]d
  LocalMSPDir: msp
  LocalMSPID: %[3]s
  TLS:
    Enabled: true
    Certificate: tls/server.crt
    PrivateKey: tls/server.key
    ClientAuthRequired: true
    RootCAs: [tls/ca.crt]
    ClientRootCAs: [tls/ca.crt]
FileLedger:
  Location: data
Admin:
  ListenAddress: %[1]s:%[4]d
  TLS:
    Enabled: true
    Certificate: tls/server.crt
    PrivateKey: tls/server.key
    ClientAuthRequired: true
    ClientRootCAs: [tls/ca.crt]
Operations:
  ListenAddress: %[1]s:%[5]d
`, n.Host, n.Port, n.Organization.MSPID, n.AdminPort, n.MetricsPort))
}

// NewTLS makes another TLS pair for the node; UseTLS puts it to use.
func (n *Node) NewTLS(t testing.TB) *pki.Credential {
	t.Helper()
	return n.Organization.TLS(t, n.Name, n.Host, "localhost")
}

// UseTLS writes the pair with which the node comes up at its next start.
func (n *Node) UseTLS(t testing.TB, pair *pki.Credential) {
	t.Helper()
	key, err := pair.KeyPEM()
	must(t, err)
	write(t, filepath.Join(n.folder, "tls", "server.crt"), pair.CertPEM())
	write(t, filepath.Join(n.folder, "tls", "server.key"), key)
	n.TLS = pair
}

// Start starts the process and waits until it serves.
func (n *Node) Start(t testing.TB) {
	t.Helper()
	if err := n.TryStart(); err != nil {
		t.Fatal(err)
	}
}

// TryStart is Start for nodes that may not come up.
func (n *Node) TryStart() error {
	if n.Running() {
		return fmt.Errorf("%s runs already", n.Name)
	}
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	line := append(append([]string{}, n.Launcher...),
		n.binary, "orderer", "start", "--config", filepath.Join(n.folder, "orderer.yaml"))
	process := exec.Command(line[0], line[1:]...)
	process.Stdout, process.Stderr = log, log
	process.Env = append([]string{"FABRIC_LOGGING_SPEC=openraft=error:info"}, os.Environ()...)
	process.Env = append(process.Env, "RUST_BACKTRACE=0")
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = process.Wait()
		close(exited)
	}()
	n.process, n.exited = process, exited
	deadline := time.After(startDeadline)
	for {
		if written, err := n.logFrom(from); err == nil && bytes.Contains(written, []byte(serving)) {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("%s ended while it started:\n%s", n.Name, n.LogTail(20))
		case <-deadline:
			return fmt.Errorf("%s does not serve after %s:\n%s", n.Name, startDeadline, n.LogTail(20))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Running says whether the process is there.
func (n *Node) Running() bool {
	if n.process == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Stop asks the process to end, and kills it when it does not.
func (n *Node) Stop(t testing.TB) {
	t.Helper()
	if !n.Running() {
		return
	}
	if !n.end(syscall.SIGTERM) {
		t.Errorf("%s did not stop in %s after SIGTERM", n.Name, stopDeadline)
		n.Kill()
	}
}

func (n *Node) end(signal syscall.Signal) bool {
	if !n.Running() {
		return true
	}
	// The group: a launcher may be the parent.
	_ = syscall.Kill(-n.process.Process.Pid, signal)
	select {
	case <-n.exited:
		return true
	case <-time.After(stopDeadline):
		return false
	}
}

// Wipe deletes what the node has stored. It must not run.
func (n *Node) Wipe(t testing.TB) {
	t.Helper()
	if n.Running() {
		t.Fatalf("%s runs: its disk cannot be wiped", n.Name)
	}
	must(t, os.RemoveAll(n.DataFolder()))
}

// Dial makes a client of the node; a person of organization holds it.
func (n *Node) Dial(t testing.TB, organization *Organization) *client.Client {
	t.Helper()
	made, err := n.Client(organization)
	must(t, err)
	t.Cleanup(made.Close)
	return made
}

// Client is Dial outside of a test's own goroutine; the caller closes it.
func (n *Node) Client(organization *Organization) (*client.Client, error) {
	return client.Dial(n.Address(), n.roots(), organization.ClientTLS)
}

// DialWithout makes a client that shows no certificate.
func (n *Node) DialWithout(t testing.TB) *client.Client {
	t.Helper()
	made, err := client.Dial(n.Address(), n.roots(), nil)
	must(t, err)
	t.Cleanup(made.Close)
	return made
}

func (n *Node) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(n.Organization.TLSCA.Cert)
	return pool
}

// adminClient speaks HTTPS to the admin listener, with a certificate of the node's organization.
func (n *Node) adminClient(certificate *pki.Credential) *http.Client {
	config := &tls.Config{RootCAs: n.roots(), MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{certificate.TLS()}
	}
	return &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

var operationsClient = &http.Client{
	Timeout:   2 * time.Second,
	Transport: &http.Transport{DisableKeepAlives: true},
}

// Metric reads a metric of a channel from the operations listener.
func (n *Node) Metric(ctx context.Context, name, channel string) (float64, error) {
	address := net.JoinHostPort(n.Host, strconv.Itoa(n.MetricsPort))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := operationsClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	line := regexp.MustCompile(`(?m)^` + name + `\{[^}]*channel="` + regexp.QuoteMeta(channel) + `"[^}]*\} (\S+)`)
	found := line.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s shows no %s of channel %s", n.Name, name, channel)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// Leads says whether the node says that it leads the channel.
func (n *Node) Leads(ctx context.Context, channel string) bool {
	if !n.Running() {
		return false
	}
	value, err := n.Metric(ctx, "consensus_etcdraft_is_leader", channel)
	return err == nil && value == 1
}

func (n *Node) logFile() string { return filepath.Join(n.folder, "node.log") }

func (n *Node) logFrom(offset int64) ([]byte, error) {
	file, err := os.Open(n.logFile())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// LogTail is the end of what the node has logged.
func (n *Node) LogTail(lines int) string {
	text, err := n.logFrom(0)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// Panics are the lines in which the node has logged a panic, each with what it says.
func (n *Node) Panics() string {
	text, err := n.logFrom(0)
	if err != nil {
		return ""
	}
	var found []string
	lines := strings.Split(string(text), "\n")
	for number, line := range lines {
		if strings.Contains(line, "panicked at") {
			found = append(found, lines[number:min(number+3, len(lines))]...)
		}
	}
	return strings.Join(found, "\n")
}
