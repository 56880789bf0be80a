package tools_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-lib-go/bccsp/factory"
	"github.com/hyperledger/fabric/msp"

	"consilium/tests/go/network"
)

const organizations = `
OrdererOrgs:
  - Name: Orderer
    Domain: example.com
    EnableNodeOUs: true
    Specs:
      - Hostname: orderer
        SANS: [localhost, 127.0.0.1]
PeerOrgs:
  - Name: Org1
    Domain: org1.example.com
    EnableNodeOUs: true
    CA:
      Country: DE
      OrganizationalUnit: Care
      StreetAddress: Main Street 1
      PostalCode: "10115"
    Template:
      Count: 2
      SANS: ["{{.Hostname}}.alt.{{.Domain}}", "::1"]
    Users: {Count: 1}
  - Name: Org2
    Domain: org2.example.com
    EnableNodeOUs: false
    CA: {Hostname: authority, PublicKeyAlgorithm: ed25519}
    Template: {Count: 1, Start: 7, Hostname: "node-{{.Prefix}}-{{.Index}}", PublicKeyAlgorithm: ed25519}
    Specs:
      - Hostname: foo
        CommonName: foo27.org5.example.com
    Users: {Count: 2, PublicKeyAlgorithm: ed25519}
`

// A folder that each of them has made.
func generated(t *testing.T, both pair, config string) pair {
	t.Helper()
	folder := t.TempDir()
	write(t, filepath.Join(folder, "crypto-config.yaml"), config)
	theirs, ours := filepath.Join(folder, "theirs"), filepath.Join(folder, "ours")
	for program, output := range map[string]string{both.theirs: theirs, both.ours: ours} {
		printed := do(t, folder, filepath.Join(program, "cryptogen"), "generate", "--config", "crypto-config.yaml", "--output", output)
		if printed != "org1.example.com\norg2.example.com\n" {
			t.Errorf("%s printed %q", program, printed)
		}
	}
	return pair{theirs, ours}
}

func TestFoldersAndCertificatesOfCryptogenAreThoseOfFabrics(t *testing.T) {
	both := programs(t)
	made := generated(t, both, organizations)
	sameFolders(t, made)
	for name := range files(t, made.ours) {
		if strings.HasSuffix(name, "-cert.pem") || strings.HasSuffix(name, ".crt") {
			hasLowS(t, filepath.Join(made.ours, name))
		}
	}

	// What the one made the other extends.
	more := strings.ReplaceAll(organizations, "Count: 2", "Count: 3")
	more = strings.ReplaceAll(more, "Users: {Count: 1}", "Users: {Count: 2}") + `
  - {Name: Org3, Domain: org3.example.com, EnableNodeOUs: true, Template: {Count: 1}}
`
	config := write(t, filepath.Join(t.TempDir(), "more.yaml"), more)
	before := read(t, filepath.Join(made.ours, "peerOrganizations/org1.example.com/users/User1@org1.example.com/msp/keystore/priv_sk"))
	do(t, "", filepath.Join(both.ours, "cryptogen"), "extend", "--config", config, "--input", made.theirs)
	do(t, "", filepath.Join(both.theirs, "cryptogen"), "extend", "--config", config, "--input", made.ours)
	sameFolders(t, made)
	after := read(t, filepath.Join(made.ours, "peerOrganizations/org1.example.com/users/User1@org1.example.com/msp/keystore/priv_sk"))
	if string(before) != string(after) {
		t.Error("extending made a key anew that was there")
	}
}

func sameFolders(t *testing.T, made pair) {
	t.Helper()
	theirs, ours := files(t, made.theirs), files(t, made.ours)
	if !maps.Equal(theirs, ours) {
		for name, mode := range theirs {
			if ours[name] != mode {
				t.Errorf("%s: %v at Fabric's, %v at ours", name, mode, ours[name])
			}
		}
		for name := range ours {
			if _, there := theirs[name]; !there {
				t.Errorf("only ours has %s", name)
			}
		}
		t.FailNow()
	}
	for name := range ours {
		switch filepath.Base(name) {
		case "config.yaml":
			if one, other := read(t, filepath.Join(made.theirs, name)), read(t, filepath.Join(made.ours, name)); string(one) != string(other) {
				t.Errorf("%s\n--- Fabric's\n%s--- ours\n%s", name, one, other)
			}
		case "priv_sk", "server.key", "client.key":
			block, _ := pem.Decode(read(t, filepath.Join(made.ours, name)))
			if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil || block.Type != "PRIVATE KEY" {
				t.Errorf("%s: %s %v", name, block.Type, err)
			}
		default:
			if !strings.HasSuffix(name, ".pem") && !strings.HasSuffix(name, ".crt") {
				continue
			}
			one, other := described(t, filepath.Join(made.theirs, name)), described(t, filepath.Join(made.ours, name))
			if one != other {
				t.Errorf("%s\n--- Fabric's\n%s\n--- ours\n%s", name, one, other)
			}
		}
	}
	for name := range ours {
		if filepath.Base(name) != "signcerts" {
			continue
		}
		folder := filepath.Dir(filepath.Join(made.ours, name))
		options := msp.SetupBCCSPKeystoreConfig(factory.GetDefaultOpts(), filepath.Join(folder, "keystore"))
		config, err := msp.GetLocalMspConfig(folder, options, "AnyMSP")
		network.Must(t, err)
		keys, err := (&factory.SWFactory{}).Get(options)
		network.Must(t, err)
		loaded, err := msp.New(&msp.BCCSPNewOpts{NewBaseOpts: msp.NewBaseOpts{Version: msp.MSPv3_0}}, keys)
		network.Must(t, err)
		if err := loaded.Setup(config); err != nil {
			t.Errorf("%s: %v", folder, err)
			continue
		}
		signer, err := loaded.GetDefaultSigningIdentity()
		network.Must(t, err)
		if err := loaded.Validate(signer.GetPublicVersion()); err != nil {
			t.Errorf("%s: %v", folder, err)
		}
	}
}

// Signatures with a high S are refused by peers.
func hasLowS(t *testing.T, file string) {
	t.Helper()
	block, _ := pem.Decode(read(t, file))
	certificate, err := x509.ParseCertificate(block.Bytes)
	network.Must(t, err)
	if certificate.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return
	}
	var signature struct{ R, S *big.Int }
	_, err = asn1.Unmarshal(certificate.Signature, &signature)
	network.Must(t, err)
	if signature.S.Cmp(new(big.Int).Rsh(elliptic.P256().Params().N, 1)) > 0 {
		t.Errorf("%s: a high S", file)
	}
}

// What of a certificate does not differ from one run to the next.
func described(t *testing.T, file string) string {
	t.Helper()
	block, rest := pem.Decode(read(t, file))
	if block == nil || len(rest) != 0 {
		t.Fatalf("%s is no PEM", file)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	network.Must(t, err)
	var extensions []string
	for _, extension := range certificate.Extensions {
		content := ""
		switch extension.Id.String() {
		case "2.5.29.14", "2.5.29.35":
			content = fmt.Sprintf("%d bytes", len(extension.Value))
		default:
			content = fmt.Sprintf("%x", extension.Value)
		}
		extensions = append(extensions, fmt.Sprintf("%s critical=%v %s", extension.Id, extension.Critical, content))
	}
	if key, is := certificate.PublicKey.(*ecdsa.PublicKey); is && key.Curve != elliptic.P256() {
		t.Errorf("%s: curve %s", file, key.Params().Name)
	}
	if certificate.SerialNumber.Sign() < 0 || certificate.SerialNumber.BitLen() > 128 {
		t.Errorf("%s: serial number %s", file, certificate.SerialNumber)
	}
	return strings.Join(append([]string{
		// Versions of Go differ in the order.
		fmt.Sprintf("subject %s issuer %s", certificate.Subject, certificate.Issuer),
		fmt.Sprintf("%d and %d bytes", len(certificate.RawSubject), len(certificate.RawIssuer)),
		certificate.SignatureAlgorithm.String(), certificate.PublicKeyAlgorithm.String(),
		fmt.Sprint(certificate.NotAfter.Sub(certificate.NotBefore)), fmt.Sprint(certificate.NotBefore.Second()),
	}, extensions...), "\n")
}

func TestCommandLinesOfCryptogenEndAsFabrics(t *testing.T) {
	both := programs(t)
	folder := t.TempDir()
	write(t, filepath.Join(folder, "template.yaml"), "PeerOrgs: [{Domain: a.b, Template: {Count: 1, Hostname: '{{.Host}}'}}]")
	for _, line := range []string{
		"nonsense", "generate --x", "generate -x", "generate --config absent.yaml", "generate extra", "generate --output",
	} {
		both.both(t, folder, "cryptogen", "", strings.Fields(line)...)
	}
	for _, program := range []string{both.theirs, both.ours} {
		failed := run(t, folder, filepath.Join(program, "cryptogen"), nil, "generate", "--config", "template.yaml")
		if failed.code != 255 || !strings.HasPrefix(failed.out, "Error processing peer configuration: Error executing template: ") {
			t.Errorf("%s: %v", program, failed)
		}
		if help := run(t, folder, filepath.Join(program, "cryptogen"), nil); help.code != 0 {
			t.Errorf("%s: %v", program, help)
		}
		shown := do(t, folder, filepath.Join(program, "cryptogen"), "showtemplate")
		write(t, filepath.Join(folder, "shown.yaml"), shown)
		do(t, folder, filepath.Join(program, "cryptogen"), "generate", "--config", "shown.yaml", "--output", filepath.Base(program))
	}
	// The templates of both describe the same organizations.
	theirs := slices.Sorted(maps.Keys(files(t, filepath.Join(folder, filepath.Base(both.theirs)))))
	ours := slices.Sorted(maps.Keys(files(t, filepath.Join(folder, filepath.Base(both.ours)))))
	if !slices.Equal(theirs, ours) {
		t.Errorf("Fabric's template makes\n%q\nand ours\n%q", theirs, ours)
	}
}
