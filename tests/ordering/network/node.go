package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	"github.com/hyperledger/fabric-config/configtx/orderer"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/pki"
)

// Node is an ordering node: its identity, its folder and its process.
type Node struct {
	process
	Organization *Organization
	Host         string
	Port         int
	AdminPort    int
	MetricsPort  int
	// TLS is both what its listener shows and what it shows to other nodes.
	TLS *pki.Credential
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
  TLS:
    Enabled: true
    Certificate: tls/server.crt
    PrivateKey: tls/server.key
    ClientRootCAs: [tls/ca.crt]
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
	return n.https(certificate, 20*time.Second)
}

func (n *Node) https(certificate *pki.Credential, patience time.Duration) *http.Client {
	config := &tls.Config{RootCAs: n.roots(), MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{certificate.TLS()}
	}
	return &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Metric reads a metric of a channel from the operations listener.
func (n *Node) Metric(ctx context.Context, name, channel string) (float64, error) {
	address := net.JoinHostPort(n.Host, strconv.Itoa(n.MetricsPort))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := n.https(n.Organization.ClientTLS, 2*time.Second).Do(request)
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
