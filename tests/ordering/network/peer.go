package network

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	gateway "github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/pki"
)

// Chaincode is what the peers of a network run: a contract that is compiled into them.
const Chaincode = "kv"

// Peer is a peer with its gateway.
type Peer struct {
	process
	Organization *Organization
	Port         int
	// Client calls it, with the TLS certificate of a person of its organization.
	Client *client.Peer
}

func (n *Network) newPeer(t testing.TB, binary string, organization *Organization) *Peer {
	t.Helper()
	name := "peer." + organization.Name
	folder := filepath.Join(n.folder, name)
	made := &Peer{
		process: process{
			Name: name, folder: folder,
			line:    []string{binary, "peer", "start", "--config", filepath.Join(folder, "core.yaml")},
			serving: "Started peer with ID",
		},
		Organization: organization,
		Port:         freePort(t),
	}
	organization.writeMSP(t, filepath.Join(folder, "msp"), organization.Member(t, "peer"))
	pair := organization.TLS(t, name, "localhost", "127.0.0.1")
	key, err := pair.KeyPEM()
	must(t, err)
	write(t, filepath.Join(folder, "tls", "server.crt"), pair.CertPEM())
	write(t, filepath.Join(folder, "tls", "server.key"), key)
	write(t, filepath.Join(folder, "tls", "ca.crt"), organization.TLSCA.CertPEM())
	write(t, filepath.Join(folder, "core.yaml"), fmt.Appendf(nil, `peer:
  id: %[1]s
  listenAddress: 127.0.0.1:%[2]d
  address: %[3]s
  mspConfigPath: msp
  localMspId: %[4]s
  fileSystemPath: data
  # A busy machine is no reason to do without an endorser.
  gateway: {endorsementTimeout: 60s}
  tls:
    enabled: true
    clientAuthRequired: true
    cert: {file: tls/server.crt}
    key: {file: tls/server.key}
    rootcert: {file: tls/ca.crt}
    clientRootCAs: {files: [tls/ca.crt]}
`, name, made.Port, made.Address(), organization.MSPID))
	roots := x509.NewCertPool()
	roots.AddCert(organization.TLSCA.Cert)
	made.Client, err = client.DialPeer(made.Address(), roots, organization.ClientTLS)
	must(t, err)
	t.Cleanup(made.Client.Close)
	t.Cleanup(made.Kill)
	return made
}

// Address is where the peer serves gRPC.
func (p *Peer) Address() string { return fmt.Sprintf("localhost:%d", p.Port) }

// Contract is a chaincode as a person of the peer's organization calls it through the gateway.
func (p *Peer) Contract(t testing.TB, person *pki.Identity, channel, chaincode string, options ...gateway.ConnectOption) *gateway.Contract {
	t.Helper()
	id, err := identity.NewX509Identity(person.MSPID, person.Cert)
	must(t, err)
	sign, err := identity.NewPrivateKeySign(person.Key)
	must(t, err)
	options = append([]gateway.ConnectOption{
		gateway.WithSign(sign), gateway.WithHash(hash.SHA256), gateway.WithClientConnection(p.Client.Connection()),
	}, options...)
	connected, err := gateway.Connect(id, options...)
	must(t, err)
	t.Cleanup(func() { _ = connected.Close() })
	return connected.GetNetwork(channel).GetContract(chaincode)
}

// startPeers starts the peers, joins them to the channel, and defines Chaincode there: both
// organizations of two must endorse, by the channel's default policy.
func (n *Network) startPeers(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	genesis, err := proto.Marshal(n.Genesis)
	must(t, err)
	code := archive(t, file{"contract.json", fmt.Appendf(nil, `{"contract":%q}`, Chaincode)})
	pack := archive(t, file{"metadata.json", fmt.Appendf(nil, `{"type":"consilium","label":%q}`, Chaincode)},
		file{"code.tar.gz", code})
	install, err := proto.Marshal(&lifecycle.InstallChaincodeArgs{ChaincodeInstallPackage: pack})
	must(t, err)
	var organizations []string
	for _, peer := range n.Peers {
		// Other gateways find the peer by it.
		anchor := configtx.Address{Host: "localhost", Port: peer.Port}
		n.Reconfigure(t, func(config *configtx.ConfigTx) error {
			return config.Application().Organization(peer.Organization.Name).AddAnchorPeer(anchor)
		}, peer.Organization.Admin)
		peer.Start(t)
		admin := peer.Organization.Admin
		_, err := peer.Client.Propose(ctx, admin, "", "cscc", []byte("JoinChain"), genesis)
		must(t, err)
		answer, err := peer.Client.Propose(ctx, admin, "", "_lifecycle", []byte("InstallChaincode"), install)
		must(t, err)
		installed := &lifecycle.InstallChaincodeResult{}
		must(t, proto.Unmarshal(answer, installed))
		n.define(t, peer, "ApproveChaincodeDefinitionForMyOrg", &lifecycle.ApproveChaincodeDefinitionForMyOrgArgs{
			Name: Chaincode, Version: "1", Sequence: 1,
			Source: &lifecycle.ChaincodeSource{Type: &lifecycle.ChaincodeSource_LocalPackage{
				LocalPackage: &lifecycle.ChaincodeSource_Local{PackageId: installed.PackageId},
			}},
		}, admin.MSPID)
		organizations = append(organizations, admin.MSPID)
	}
	n.define(t, n.Peers[0], "CommitChaincodeDefinition", &lifecycle.CommitChaincodeDefinitionArgs{
		Name: Chaincode, Version: "1", Sequence: 1,
	}, organizations...)
	for _, peer := range n.Peers {
		contract := peer.Contract(t, peer.Organization.Client, n.Channel, Chaincode)
		last := ""
		Within(t, 20*time.Second, peer.Name+" runs "+Chaincode, func() bool {
			_, err := contract.SubmitTransaction("put", "first of "+peer.Name, "there")
			last = fmt.Sprint(err)
			return err == nil
		}, func() string { return last })
	}
}

// define submits a step of the chaincode's lifecycle until it is done: other peers may not have seen
// the step before.
func (n *Network) define(t testing.TB, through *Peer, function string, arguments proto.Message, organizations ...string) {
	t.Helper()
	encoded, err := proto.Marshal(arguments)
	must(t, err)
	contract := through.Contract(t, through.Organization.Admin, n.Channel, "_lifecycle")
	last := ""
	Within(t, 20*time.Second, function+" through "+through.Name, func() bool {
		_, err := contract.Submit(function, gateway.WithBytesArguments(encoded),
			gateway.WithEndorsingOrganizations(organizations...))
		last = fmt.Sprint(err)
		return err == nil
	}, func() string { return last })
}

type file struct {
	name    string
	content []byte
}

// archive makes a .tar.gz.
func archive(t testing.TB, files ...file) []byte {
	t.Helper()
	buffer := &bytes.Buffer{}
	zipped := gzip.NewWriter(buffer)
	packed := tar.NewWriter(zipped)
	for _, file := range files {
		must(t, packed.WriteHeader(&tar.Header{Name: file.name, Mode: 0o644, Size: int64(len(file.content))}))
		_, err := packed.Write(file.content)
		must(t, err)
	}
	must(t, packed.Close())
	must(t, zipped.Close())
	return buffer.Bytes()
}
