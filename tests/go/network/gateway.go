package network

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Application is what an application of a person needs: a connection, an identity and a signature.
type Application struct {
	Connection *grpc.ClientConn
	Identity   *identity.X509Identity
	Sign       identity.Sign
	tlsHash    []byte
}

// Application of a person of org at a peer.
func (n *Network) Application(t testing.TB, org Organization, person, address string) *Application {
	t.Helper()
	folder := n.User(org, person)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls", "client.crt"), filepath.Join(folder, "tls", "client.key"))
	Must(t, err)
	// Peers of any member will do.
	roots := x509.NewCertPool()
	for _, member := range n.Organizations {
		if !roots.AppendCertsFromPEM(read(t, n.TLSRoot(member))) {
			t.Fatalf("the TLS root of %s is no certificate", member.Name)
		}
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(
		&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}})))
	Must(t, err)
	t.Cleanup(func() { connection.Close() })
	certificate, err := identity.CertificateFromPEM(only(t, filepath.Join(folder, "msp", "signcerts")))
	Must(t, err)
	who, err := identity.NewX509Identity(org.MSPID, certificate)
	Must(t, err)
	key, err := identity.PrivateKeyFromPEM(only(t, filepath.Join(folder, "msp", "keystore")))
	Must(t, err)
	sign, err := identity.NewPrivateKeySign(key)
	Must(t, err)
	block, _ := pem.Decode(read(t, filepath.Join(folder, "tls", "client.crt")))
	digest := sha256.Sum256(block.Bytes)
	return &Application{Connection: connection, Identity: who, Sign: sign, tlsHash: digest[:]}
}

// Gateway connects. Options come after the usual ones.
func (a *Application) Gateway(t testing.TB, options ...client.ConnectOption) *client.Gateway {
	t.Helper()
	made, err := client.Connect(a.Identity, append([]client.ConnectOption{
		client.WithClientConnection(a.Connection), client.WithHash(hash.SHA256),
		client.WithTLSClientCertificateHash(a.tlsHash), client.WithEvaluateTimeout(30 * time.Second),
		client.WithEndorseTimeout(30 * time.Second), client.WithSubmitTimeout(30 * time.Second),
		client.WithCommitStatusTimeout(time.Minute),
	}, options...)...)
	Must(t, err)
	t.Cleanup(func() { made.Close() })
	return made
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	Must(t, err)
	return content
}

// The content of the only file of a folder.
func only(t testing.TB, folder string) []byte {
	t.Helper()
	entries, err := os.ReadDir(folder)
	Must(t, err)
	if len(entries) != 1 {
		t.Fatal(fmt.Errorf("%s holds %d files", folder, len(entries)))
	}
	return read(t, filepath.Join(folder, entries[0].Name()))
}
