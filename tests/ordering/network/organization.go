package network

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	"github.com/hyperledger/fabric-config/configtx/membership"

	"consilium/tests/ordering/pki"
)

// Organization is a member of the consortium with its two authorities.
type Organization struct {
	Name   string
	MSPID  string
	CA     *pki.CA
	TLSCA  *pki.CA
	Admin  *pki.Identity
	Client *pki.Identity
	// ClientTLS is what its people show to TLS servers.
	ClientTLS *pki.Credential
}

// NewOrganization makes an organization called, for example, "north".
func NewOrganization(t testing.TB, name string) *Organization {
	t.Helper()
	organization := &Organization{Name: name, MSPID: name + "MSP"}
	var err error
	organization.CA, err = pki.NewCA("ca."+name, name)
	must(t, err)
	organization.TLSCA, err = pki.NewCA("tlsca."+name, name)
	must(t, err)
	organization.Admin = organization.Member(t, "admin")
	organization.Client = organization.Member(t, "client")
	organization.ClientTLS = organization.TLS(t, "client."+name)
	return organization
}

// Member enrolls somebody with a role: client, peer, admin or orderer.
func (o *Organization) Member(t testing.TB, role string) *pki.Identity {
	t.Helper()
	return o.issue(t, pki.Subject{CommonName: role + "." + o.Name, Unit: role})
}

// Expired enrolls a client whose certificate was valid until a minute ago.
func (o *Organization) Expired(t testing.TB) *pki.Identity {
	t.Helper()
	return o.issue(t, pki.Subject{
		CommonName: "expired." + o.Name, Unit: "client", NotAfter: time.Now().Add(-time.Minute),
	})
}

func (o *Organization) issue(t testing.TB, subject pki.Subject) *pki.Identity {
	t.Helper()
	credential, err := o.CA.Issue(subject)
	must(t, err)
	return &pki.Identity{Credential: credential, MSPID: o.MSPID}
}

// TLS makes a TLS pair for a server at these hosts, or for a client.
func (o *Organization) TLS(t testing.TB, name string, hosts ...string) *pki.Credential {
	t.Helper()
	credential, err := o.TLSCA.Issue(pki.Subject{CommonName: name, Hosts: hosts})
	must(t, err)
	return credential
}

// MSP is the organization's definition for the channel configuration.
func (o *Organization) MSP() configtx.MSP {
	unit := func(role string) membership.OUIdentifier {
		return membership.OUIdentifier{Certificate: o.CA.Cert, OrganizationalUnitIdentifier: role}
	}
	return configtx.MSP{
		Name:         o.MSPID,
		RootCerts:    []*x509.Certificate{o.CA.Cert},
		TLSRootCerts: []*x509.Certificate{o.TLSCA.Cert},
		CryptoConfig: membership.CryptoConfig{
			SignatureHashFamily:            "SHA2",
			IdentityIdentifierHashFunction: "SHA256",
		},
		NodeOUs: membership.NodeOUs{
			Enable:              true,
			ClientOUIdentifier:  unit("client"),
			PeerOUIdentifier:    unit("peer"),
			AdminOUIdentifier:   unit("admin"),
			OrdererOUIdentifier: unit("orderer"),
		},
	}
}

// Config is the organization as fabric-config wants it.
func (o *Organization) Config() configtx.Organization {
	rule := func(text string, args ...any) configtx.Policy {
		return configtx.Policy{Type: configtx.SignaturePolicyType, Rule: fmt.Sprintf(text, args...)}
	}
	id := o.MSPID
	return configtx.Organization{
		Name: o.Name,
		MSP:  o.MSP(),
		Policies: map[string]configtx.Policy{
			configtx.ReadersPolicyKey:     rule("OR('%s.member')", id),
			configtx.WritersPolicyKey:     rule("OR('%s.member')", id),
			configtx.AdminsPolicyKey:      rule("OR('%s.admin')", id),
			configtx.EndorsementPolicyKey: rule("OR('%s.member')", id),
		},
	}
}

// writeMSP writes the local MSP of a node.
func (o *Organization) writeMSP(t testing.TB, folder string, node *pki.Identity) {
	t.Helper()
	key, err := node.KeyPEM()
	must(t, err)
	units := "NodeOUs:\n  Enable: true\n"
	for _, role := range []string{"Client", "Peer", "Admin", "Orderer"} {
		units += fmt.Sprintf("  %sOUIdentifier:\n    Certificate: cacerts/ca.pem\n    OrganizationalUnitIdentifier: %s\n",
			role, strings.ToLower(role))
	}
	write(t, filepath.Join(folder, "signcerts", "cert.pem"), node.CertPEM())
	write(t, filepath.Join(folder, "keystore", "key_sk"), key)
	write(t, filepath.Join(folder, "cacerts", "ca.pem"), o.CA.CertPEM())
	write(t, filepath.Join(folder, "tlscacerts", "tlsca.pem"), o.TLSCA.CertPEM())
	write(t, filepath.Join(folder, "config.yaml"), []byte(units))
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, content, 0o600))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
