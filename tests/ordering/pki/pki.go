// Package pki makes the certificates of a consortium: authorities, and what they issue to nodes and
// people. Keys are ECDSA P-256 and live in memory, or where the caller writes them.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// Credential is a certificate with its private key.
type Credential struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// CA issues certificates of one organization for one purpose.
type CA struct {
	Credential
	organization string
}

// Subject says what a certificate is for.
type Subject struct {
	CommonName string
	// Unit is the OU: client, peer, admin or orderer. Empty for TLS.
	Unit string
	// Hosts are names and addresses of a TLS server.
	Hosts []string
	// NotAfter ends the validity; ten years from now where it is zero.
	NotAfter time.Time
}

// NewCA makes a self-signed authority.
func NewCA(commonName, organization string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName, Organization: []string{organization}},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	cert, err := create(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", commonName, err)
	}
	return &CA{Credential{cert, key}, organization}, nil
}

// Issue makes a new key and its certificate.
func (ca *CA) Issue(subject Subject) (*Credential, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	name := pkix.Name{CommonName: subject.CommonName, Organization: []string{ca.organization}}
	if subject.Unit != "" {
		name.OrganizationalUnit = []string{subject.Unit}
	}
	notAfter := subject.NotAfter
	if notAfter.IsZero() {
		notAfter = time.Now().AddDate(9, 0, 0)
	}
	template := &x509.Certificate{
		Subject:               name,
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	if subject.Unit == "" {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	for _, host := range subject.Hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, err := create(template, ca.Cert, &key.PublicKey, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", subject.CommonName, err)
	}
	return &Credential{cert, key}, nil
}

func create(template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// CertPEM is the certificate as files and messages carry it.
func (c *Credential) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Cert.Raw})
}

// KeyPEM is the private key in PKCS#8.
func (c *Credential) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.Key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// TLS is the pair as a TLS client or server presents it.
func (c *Credential) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.Cert.Raw}, PrivateKey: c.Key, Leaf: c.Cert}
}

// TLSHash binds requests to the TLS client certificate: SHA-256 over its DER.
func (c *Credential) TLSHash() []byte {
	hash := sha256.Sum256(c.Cert.Raw)
	return hash[:]
}

// Identity is a member of an MSP that can sign.
type Identity struct {
	*Credential
	MSPID string
}

// Serialized is the identity as `creator` fields carry it.
func (i *Identity) Serialized() ([]byte, error) {
	return proto.Marshal(&msp.SerializedIdentity{Mspid: i.MSPID, IdBytes: i.CertPEM()})
}

// Sign signs the SHA-256 digest of the message, with the lower of the two values of S.
func (i *Identity) Sign(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, i.Key, digest[:])
	if err != nil {
		return nil, err
	}
	order := i.Key.Params().N
	if s.Cmp(new(big.Int).Rsh(order, 1)) > 0 {
		s.Sub(order, s)
	}
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}

// ConfigSigner is the identity for fabric-config.
func (i *Identity) ConfigSigner() *configtx.SigningIdentity {
	return &configtx.SigningIdentity{Certificate: i.Cert, PrivateKey: i.Key, MSPID: i.MSPID}
}
