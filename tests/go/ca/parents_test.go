package ca_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

// An authority of either program enrols at one of either program, and whoever enrols there is trusted
// by those who trust the root alone; an authority below both is not made, as the root allows one level.
func TestAuthoritiesBelowOthers(t *testing.T) {
	theirs, ours := programs(t, "fabric-ca-server")
	for _, pair := range []struct {
		name         string
		above, below program
	}{
		{"ours below Fabric's", theirs, ours},
		{"Fabric's below ours", ours, theirs},
		{"ours below ours", ours, ours},
	} {
		t.Run(pair.name, func(t *testing.T) {
			root := start(t, pair.above, "-n", "root")
			register := `{"id":"below","secret":"pw","attrs":[{"name":"hf.IntermediateCA","value":"true"}]}`
			admin := root.enroll(t, "admin", "adminpw")
			if told := root.ask(t, request{method: "POST", path: "/register", body: register, caller: admin}); told.status != 201 {
				t.Fatalf("%+v", told)
			}
			parent := func(at server, user string) string {
				return strings.Replace(at.url, "http://", "http://"+user+"@", 1)
			}
			below := start(t, pair.below, "-n", "below", "-u", parent(root, "below:pw"))
			told := below.ask(t, request{method: "GET", path: "/cainfo"})
			chain, err := base64.StdEncoding.DecodeString(told.result.(map[string]any)["CAChain"].(string))
			must(t, err)
			roots, others, number := x509.NewCertPool(), x509.NewCertPool(), 0
			for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
				certificate, err := x509.ParseCertificate(block.Bytes)
				must(t, err)
				if number++; string(certificate.RawIssuer) == string(certificate.RawSubject) {
					roots.AddCert(certificate)
				} else {
					others.AddCert(certificate)
				}
			}
			if number != 2 {
				t.Errorf("%d certificates in the chain:\n%s", number, chain)
			}
			block, _ := pem.Decode(below.enroll(t, "admin", "adminpw").certificate)
			leaf, err := x509.ParseCertificate(block.Bytes)
			must(t, err)
			usages := []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, KeyUsages: usages}); err != nil {
				t.Error(err)
			}
			if leaf.Subject.CommonName != "admin" || !strings.Contains(leaf.Issuer.String(), "CN=below") {
				t.Errorf("%v from %v", leaf.Subject, leaf.Issuer)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			home := t.TempDir()
			line := []string{"init", "-H", home, "-b", "admin:adminpw", "-u", parent(below, "admin:adminpw")}
			if said, err := pair.below.command(ctx, home, line...).CombinedOutput(); err == nil {
				t.Errorf("an authority two levels below was made:\n%s", said)
			}
		})
	}
}
