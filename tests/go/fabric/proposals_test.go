package fabric_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"consilium/tests/go/network"
)

// `consilium channel`: proposals in settings by name, which Fabric's peer signs and submits, too.
func TestProposals(t *testing.T) {
	p := &proposals{net: network.Load(t), folder: t.TempDir()}
	hospital := p.net.Admin(t, p.net.Organization(t, "hospital"))
	maker := p.net.Admin(t, p.net.Organization(t, "maker"))
	file := filepath.Join(p.folder, "proposal.pb")

	before := p.setting(t, "orderer.batch-timeout")
	said := p.must(t, "propose", "--set", "orderer.batch-timeout=700ms", "--out", file)
	want(t, said, "orderer.batch-timeout\n  - "+before+"\n  + 700ms")
	want(t, said, "still missing: 2 of HospitalMSP, MakerMSP, RegulatorMSP have to sign")
	want(t, p.must(t, "diff", file), "  + 700ms")
	p.refused(t, "signatures are missing: 2 of HospitalMSP, MakerMSP, RegulatorMSP have to sign", "submit", file)

	// Fabric's signs in the same file, and is known here.
	maker.Peer(t, "channel", "signconfigtx", "-f", file)
	for _, said := range []string{
		"  MakerMSP (", "still missing: 1 of HospitalMSP, RegulatorMSP have to sign", "satisfied: /Channel/Orderer/MakerMSP/Admins",
	} {
		p.refused(t, said, "status", file)
	}
	said = p.must(t, "sign", file, "--as", "regulator/Admin")
	want(t, said, "RegulatorMSP signs these changes")
	want(t, said, "complete: it can be submitted")
	want(t, p.must(t, "status", file), "complete: it can be submitted")
	want(t, p.must(t, "submit", file), "is in force")
	if now := p.setting(t, "orderer.batch-timeout"); now != "700ms" {
		t.Errorf("the timeout is %s", now)
	}
	p.refused(t, "if that has changed since, propose anew", "status", file)

	// What we propose and sign, Fabric's submits; its block says what we wanted.
	p.must(t, "propose", "--set", "orderer.batch-timeout="+before, "--sign", "--out", file)
	orders := append([]string{"channel", "update", "-c", p.net.Channel, "-f", file}, maker.Orderer()...)
	_, shown := maker.Peer(t, orders...)
	want(t, shown, "Successfully submitted channel update")
	network.Eventually(t, "the update is in force", func() error {
		if now := p.setting(t, "orderer.batch-timeout"); now != before {
			return fmt.Errorf("the timeout is %s", now)
		}
		return nil
	})
	block := filepath.Join(p.folder, "config.block")
	hospital.Peer(t, append([]string{"channel", "fetch", "config", block, "-c", p.net.Channel}, hospital.Orderer()...)...)
	want(t, p.must(t, "show", "orderer.batch-timeout", "--from", block), "orderer.batch-timeout = "+before)
	want(t, p.must(t, "diff", "--from", block), "no difference")

	// A whole configuration in JSON, changed by whatever edits text.
	whole := filepath.Join(p.folder, "config.json")
	text := p.must(t, "show", "--json")
	changed := strings.Replace(text, `"timeout": "`+before+`"`, `"timeout": "600ms"`, 1)
	network.Must(t, os.WriteFile(whole, []byte(changed), 0o600))
	want(t, p.must(t, "propose", "--file", whole, "--out", file), "orderer.batch-timeout\n  - "+before+"\n  + 600ms\n\nsign")
	want(t, p.must(t, "show", "orderer.batch-timeout", "--from", whole), "orderer.batch-timeout = 600ms")

	// Whoever has all keys does it in one command; nobody else's anchors change by one's own signature.
	want(t, p.must(t, "propose", "--set", "application.acl.qscc/GetChainInfo=Nobody", "--out", file),
		"warning: application.acl.qscc/GetChainInfo names a policy that does not exist")
	p.refused(t, "no differences detected", "propose", "--set", "orderer.batch-timeout="+before, "--out", file)
	p.refused(t, "Attempted to set the batch size", "propose", "--set", "orderer.batch-size.max-messages=0", "--out", file)
	p.refused(t, "there is no such setting", "propose", "--set", "orderer.batch=1", "--out", file)
	want(t, p.must(t, "propose", "--add", "application.org.MakerMSP.anchor-peers=localhost:1", "--submit", "--out", file), "is in force")
	want(t, p.must(t, "propose", "--remove", "application.org.MakerMSP.anchor-peers=localhost:1", "--submit", "--out", file), "is in force")

	// An organization comes and goes.
	msp := p.newcomer(t)
	said = p.must(t, "add-org", "Clinic", "--org-msp-id", "ClinicMSP", "--msp-folder", msp, "--anchor", "localhost:2",
		"--no-submit", "--out", file)
	want(t, said, "application.org.Clinic.msp.id\n  + ClinicMSP")
	want(t, said, "written to "+file)
	want(t, p.must(t, "add-org", "Clinic", "--org-msp-id", "ClinicMSP", "--msp-folder", msp, "--anchor", "localhost:2",
		"--out", file), "is in force")
	p.refused(t, "Clinic is a member already", "add-org", "Clinic", "--msp-folder", msp, "--out", file)
	want(t, p.must(t, "show", "application.org.Clinic.anchor"), "application.org.Clinic.anchor-peers = localhost:2")
	p.refused(t, "HospitalMSP runs consenters of the channel", "remove-org", "HospitalMSP", "--out", file)
	want(t, p.must(t, "remove-org", "Clinic", "--out", file), "is in force")
	if shown := p.must(t, "show", "application.org.Clinic"); strings.Contains(shown, "Clinic") {
		t.Errorf("the clinic is still there: %s", shown)
	}
}

type proposals struct {
	net    *network.Network
	folder string
}

func (p *proposals) run(args ...string) (string, error) {
	return p.net.Consilium(append([]string{"channel", args[0], "--network", p.net.Dir}, args[1:]...)...)
}

func (p *proposals) must(t *testing.T, args ...string) string {
	t.Helper()
	said, err := p.run(args...)
	if err != nil {
		t.Fatalf("channel %q: %v\n%s", args, err, said)
	}
	return said
}

func (p *proposals) refused(t *testing.T, reason string, args ...string) {
	t.Helper()
	said, err := p.run(args...)
	if err == nil {
		t.Errorf("channel %q succeeded: %s", args, said)
	}
	if all := said + fmt.Sprint(err); !strings.Contains(all, reason) {
		t.Errorf("channel %q does not say %q: %s", args, reason, all)
	}
}

func (p *proposals) setting(t *testing.T, name string) string {
	t.Helper()
	lines := strings.Split(p.must(t, "show", name), "\n")
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, name+" = ") })
	if at < 0 {
		t.Fatalf("%s is not shown: %q", name, lines)
	}
	return strings.TrimPrefix(lines[at], name+" = ")
}

// The folder of an MSP that is in no channel.
func (p *proposals) newcomer(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(p.folder, "msp")
	for _, name := range []string{"cacerts", "tlscacerts"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		network.Must(t, err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name + ".clinic.example"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		network.Must(t, err)
		network.Must(t, os.MkdirAll(filepath.Join(folder, name), 0o700))
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		network.Must(t, os.WriteFile(filepath.Join(folder, name, "any name"), text, 0o600))
	}
	units := "NodeOUs:\n  Enable: true\n"
	for _, role := range []string{"Client", "Peer", "Admin", "Orderer"} {
		units += fmt.Sprintf("  %sOUIdentifier: {OrganizationalUnitIdentifier: %s}\n", role, strings.ToLower(role))
	}
	network.Must(t, os.WriteFile(filepath.Join(folder, "config.yaml"), []byte(units), 0o600))
	return folder
}
