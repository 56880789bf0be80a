package ca_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-ca/api"
	"github.com/hyperledger/fabric-ca/lib"
	"github.com/hyperledger/fabric-ca/lib/client/credential"
)

// What a program that is built on Fabric CA's client library saw.
type account struct {
	lines  []string
	called map[string]bool
}

var (
	serverAddress = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	temporary     = regexp.MustCompile(`/tmp/[^ ",']+`)
	secretText    = regexp.MustCompile(`"secret":"\w{12}"`)
	// Each server says in its own words what it cannot read or sign.
	reasons = regexp.MustCompile(`(Certificate signing failure|Invalid Request: Invalid '\w+' value|Failed to register attributes|Registration of '\w+' failed).*`)
)

// Notes the outcome of a call, without what is of chance, and gives whether it went well.
func (a *account) note(call string, result any, err error) bool {
	a.called[strings.Fields(call)[0]] = true
	switch told := result.(type) {
	case *api.IdentityResponse:
		if told != nil {
			arrange(told.Attributes)
		}
	case *api.GetIDResponse:
		if told != nil {
			arrange(told.Attributes)
		}
	}
	text, failed := json.Marshal(result)
	if err != nil || failed != nil {
		text = []byte(fmt.Sprint(err, failed))
	}
	line := secretText.ReplaceAllString(string(text), `"secret":"S"`)
	line = hexNumber.ReplaceAllString(line, "N")
	line = serverAddress.ReplaceAllString(line, "HOST")
	line = temporary.ReplaceAllString(line, "FILE")
	line = reasons.ReplaceAllString(strings.TrimSpace(line), "$1")
	a.lines = append(a.lines, call+": "+line)
	return err == nil
}

// Attributes come in an order of chance.
func arrange(attributes []api.Attribute) {
	slices.SortFunc(attributes, func(a, b api.Attribute) int { return strings.Compare(a.Name, b.Name) })
}

// What a certificate says of its owner.
func owner(t *testing.T, of *lib.Identity) any {
	t.Helper()
	signer := of.GetECert()
	if signer == nil {
		t.Fatalf("%s has no certificate", of.GetName())
	}
	certificate := signer.GetX509Cert()
	attributes, err := signer.Attributes()
	must(t, err)
	names := attributes.Names()
	slices.Sort(names)
	units := slices.Clone(certificate.Subject.OrganizationalUnit)
	slices.Sort(units)
	hosts := certificate.DNSNames
	return []any{of.GetName(), certificate.Subject.CommonName, units, certificate.Subject.Organization, hosts,
		fmt.Sprint(certificate.KeyUsage, certificate.ExtKeyUsage, certificate.IsCA, certificate.PublicKeyAlgorithm), names}
}

func newClient(t *testing.T, at server) *lib.Client {
	t.Helper()
	return &lib.Client{HomeDir: t.TempDir(), Config: &lib.ClientConfig{
		URL:    at.url,
		Idemix: api.Idemix{Curve: "amcl.Fp256bn"},
	}}
}

// Every call that the library's Client and Identity have gives the same at Fabric CA's server and at ours.
func TestLibrary(t *testing.T) {
	theirs, ours := programs(t, "fabric-ca-server")
	options := []string{"-n", "ca", "--cfg.identities.allowremove", "--cfg.affiliations.allowremove", "--registry.maxenrollments", "100"}
	accounts := make([]*account, 0, 2)
	for _, by := range []program{theirs, ours} {
		told := &account{called: map[string]bool{}}
		at := start(t, by, options...)
		asClient(t, at, told)
		asRegistrar(t, at, told)
		withKeys(t, at, told)
		accounts = append(accounts, told)
	}
	idemix(t, start(t, ours, options...), accounts[1])
	for number, expected := range accounts[0].lines {
		if number >= len(accounts[1].lines) {
			t.Fatalf("nothing beside %s", expected)
		}
		// What only Fabric CA's server issues is refused by ours, which idemix looks at.
		if got := accounts[1].lines[number]; got != expected {
			t.Errorf("ours\n%s\n--- Fabric's\n%s", got, expected)
		}
	}
	for _, kind := range []reflect.Type{reflect.TypeFor[*lib.Client](), reflect.TypeFor[*lib.Identity]()} {
		for number := range kind.NumMethod() {
			call := kind.Elem().Name() + "." + kind.Method(number).Name
			if !accounts[1].called[call] {
				t.Errorf("%s was not called", call)
			}
		}
	}
}

// Everything that a Client does.
func asClient(t *testing.T, at server, told *account) {
	client := newClient(t, at)
	told.note("Client.Init", nil, client.Init())
	told.note("Client.CheckEnrollment before", nil, client.CheckEnrollment())
	_, err := client.LoadMyIdentity()
	told.note("Client.LoadMyIdentity before", nil, err)
	info, err := client.GetCAInfo(&api.GetCAInfoRequest{CAName: "ca"})
	must(t, err)
	block, rest := pem.Decode(info.CAChain)
	root, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	told.note("Client.GetCAInfo", []any{info.CAName, root.Subject.CommonName, root.IsCA, len(rest)}, nil)
	_, err = client.GetCAInfo(&api.GetCAInfoRequest{CAName: "other"})
	told.note("Client.GetCAInfo of another", nil, err)

	// Requests with and without a key of one's own.
	csr, key, err := client.GenCSR(&api.CSRInfo{CN: "x", Hosts: []string{"a.example"}}, "admin")
	told.note("Client.GenCSR", requested(t, csr), err)
	again, same, err := client.GenCSRUsingKey(&api.CSRInfo{CN: "x"}, "other", key)
	told.note("Client.GenCSRUsingKey", []any{requested(t, again), reflect.DeepEqual(key.SKI(), same.SKI())}, err)
	_, err = client.GetCSP().GetKey(key.SKI())
	told.note("Client.GetCSP", nil, err)
	_, err = client.GetIssuerPubKey()
	told.note("Client.GetIssuerPubKey", nil, err)
	file := filepath.Join(t.TempDir(), "csr.json")
	must(t, os.WriteFile(file, []byte(`{"CN":"x","hosts":["b.example"],"names":[{"O":"Hospital"}]}`), 0o600))
	loaded, err := client.LoadCSRInfo(file)
	told.note("Client.LoadCSRInfo", loaded, err)
	_, err = client.LoadCSRInfo(file + "x")
	told.note("Client.LoadCSRInfo of nothing", nil, err)

	// Enrolling, wrong and right.
	_, err = client.Enroll(&api.EnrollmentRequest{Name: "admin", Secret: "wrong"})
	told.note("Client.Enroll with a wrong secret", nil, err)
	_, err = client.Enroll(&api.EnrollmentRequest{Name: "admin", Secret: "adminpw", Profile: "none"})
	told.note("Client.Enroll with a profile that is none", nil, err)
	enrolled, err := client.Enroll(&api.EnrollmentRequest{Name: "admin", Secret: "adminpw", CAName: "ca", CSR: loaded})
	must(t, err)
	told.note("Client.Enroll", []any{owner(t, enrolled.Identity), enrolled.CAInfo.CAName}, nil)
	admin := enrolled.Identity
	told.note("Identity.Store", nil, admin.Store())
	told.note("Client.CheckEnrollment", nil, client.CheckEnrollment())
	mine, err := client.LoadMyIdentity()
	must(t, err)
	told.note("Client.LoadMyIdentity", owner(t, mine), nil)
	keys, err := filepath.Glob(filepath.Join(client.Config.MSPDir, "keystore", "*_sk"))
	must(t, err)
	loadedID, err := client.LoadIdentity(keys[0], client.GetCertFilePath(), "")
	told.note("Client.LoadIdentity", loadedID.GetName(), err)
	told.note("Client.GetCertFilePath", filepath.Base(client.GetCertFilePath()), nil)
	made, err := client.NewIdentity([]credential.Credential{admin.GetX509Credential()})
	told.note("Client.NewIdentity", owner(t, made), err)
	_, err = client.NewIdentity(nil)
	told.note("Client.NewIdentity of nothing", nil, err)
	x509ID := client.NewX509Identity("somebody", []credential.Credential{admin.GetX509Credential()})
	revoked, err := x509ID.Revoke(&api.RevocationRequest{Name: "nobody"})
	told.note("Client.NewX509Identity revokes nobody", revoked, err)
	told.note("Identity.GetName", mine.GetName(), nil)
	told.note("Identity.GetClient", mine.GetClient() == client, nil)
	told.note("Identity.GetX509Credential", mine.GetX509Credential().Type(), nil)
	told.note("Identity.GetIdemixCredential", mine.GetIdemixCredential() == nil, nil)
	told.note("Identity.GetECert", mine.GetECert().GetName(), nil)

	// Requests by hand.
	byHand, err := http.NewRequest("POST", at.url+"/api/v1/cainfo", strings.NewReader(`{"caname":"ca"}`))
	must(t, err)
	var result api.CAInfoResponseNet
	told.note("Client.SendReq", result.CAName, client.SendReq(byHand, &result))
	told.note("Client.SendReq gave", []any{result.CAName, result.CAChain != ""}, nil)
	byHand, err = http.NewRequest("GET", at.url+"/api/v1/identities", strings.NewReader(""))
	must(t, err)
	err = client.StreamResponse(byHand, "result.identities", func(*json.Decoder) error { return nil })
	told.note("Client.StreamResponse without a token", nil, err)
}

// Everything that an Identity does, as the registrar.
func asRegistrar(t *testing.T, at server, told *account) {
	client := newClient(t, at)
	enrolled, err := client.Enroll(&api.EnrollmentRequest{Name: "admin", Secret: "adminpw"})
	must(t, err)
	admin := enrolled.Identity

	registered, err := admin.Register(&api.RegistrationRequest{
		Name: "doctor", Type: "client", Secret: "pw", Affiliation: "org1.department1", MaxEnrollments: 3,
		Attributes: []api.Attribute{{Name: "ward", Value: "7", ECert: true}, {Name: "hf.Revoker", Value: "true"}},
	})
	told.note("Identity.Register", registered, err)
	_, err = admin.Register(&api.RegistrationRequest{Name: "doctor", Type: "client"})
	told.note("Identity.Register twice", nil, err)
	_, err = admin.Register(&api.RegistrationRequest{Name: "x", Affiliation: "nowhere"})
	told.note("Identity.Register nowhere", nil, err)
	_, err = admin.Register(&api.RegistrationRequest{})
	told.note("Identity.Register nobody", nil, err)
	nurse, err := admin.RegisterAndEnroll(&api.RegistrationRequest{Name: "nurse", Type: "client", Affiliation: "org1"})
	must(t, err)
	told.note("Identity.RegisterAndEnroll", owner(t, nurse), nil)
	_, err = nurse.Register(&api.RegistrationRequest{Name: "friend", Type: "client"})
	told.note("Identity.Register by a nurse", nil, err)

	// Certificates again: with a new key, and with the same.
	again, err := nurse.Reenroll(&api.ReenrollmentRequest{Profile: "tls", CSR: &api.CSRInfo{Hosts: []string{"ward.example"}}})
	must(t, err)
	told.note("Identity.Reenroll", owner(t, again.Identity), nil)
	reuse := &api.CSRInfo{KeyRequest: &api.KeyRequest{Algo: "ecdsa", Size: 256, ReuseKey: true}}
	same, err := nurse.Reenroll(&api.ReenrollmentRequest{CSR: reuse, AttrReqs: []*api.AttributeRequest{{Name: "hf.Type"}}})
	must(t, err)
	kept := reflect.DeepEqual(nurse.GetECert().Key().SKI(), same.Identity.GetECert().Key().SKI())
	told.note("Identity.Reenroll with the same key", []any{owner(t, same.Identity), kept}, nil)

	// Identities.
	added, err := admin.AddIdentity(&api.AddIdentityRequest{ID: "clerk", Type: "client", Affiliation: "org2", Secret: "pw", MaxEnrollments: 2})
	told.note("Identity.AddIdentity", added, err)
	_, err = admin.AddIdentity(&api.AddIdentityRequest{ID: "clerk", Type: "client"})
	told.note("Identity.AddIdentity twice", nil, err)
	modified, err := admin.ModifyIdentity(&api.ModifyIdentityRequest{ID: "clerk", Type: "peer", MaxEnrollments: 5, Attributes: []api.Attribute{{Name: "a", Value: "1"}}})
	told.note("Identity.ModifyIdentity", modified, err)
	_, err = admin.ModifyIdentity(&api.ModifyIdentityRequest{ID: "nobody", Type: "peer"})
	told.note("Identity.ModifyIdentity of nobody", nil, err)
	got, err := admin.GetIdentity("clerk", "ca")
	told.note("Identity.GetIdentity", got, err)
	_, err = admin.GetIdentity("nobody", "")
	told.note("Identity.GetIdentity of nobody", nil, err)
	_, err = admin.GetIdentity("clerk", "other")
	told.note("Identity.GetIdentity elsewhere", nil, err)
	var names []string
	err = admin.GetAllIdentities("ca", func(decoder *json.Decoder) error {
		var one api.IdentityInfo
		err := decoder.Decode(&one)
		names = append(names, fmt.Sprint(one.ID, one.Type, one.Affiliation, one.MaxEnrollments))
		return err
	})
	slices.Sort(names)
	told.note("Identity.GetAllIdentities", names, err)
	removed, err := admin.RemoveIdentity(&api.RemoveIdentityRequest{ID: "clerk"})
	told.note("Identity.RemoveIdentity", removed, err)
	_, err = admin.RemoveIdentity(&api.RemoveIdentityRequest{ID: "clerk"})
	told.note("Identity.RemoveIdentity twice", nil, err)
	_, err = admin.RemoveIdentity(&api.RemoveIdentityRequest{ID: "admin"})
	told.note("Identity.RemoveIdentity of oneself", nil, err)

	// Affiliations.
	affiliation, err := admin.AddAffiliation(&api.AddAffiliationRequest{Name: "org3"})
	told.note("Identity.AddAffiliation", affiliation, err)
	_, err = admin.AddAffiliation(&api.AddAffiliationRequest{Name: "a.b"})
	told.note("Identity.AddAffiliation below nothing", nil, err)
	affiliation, err = admin.AddAffiliation(&api.AddAffiliationRequest{Name: "a.b.c", Force: true})
	told.note("Identity.AddAffiliation by force", affiliation, err)
	affiliation, err = admin.ModifyAffiliation(&api.ModifyAffiliationRequest{Name: "org3", NewName: "org4"})
	told.note("Identity.ModifyAffiliation", affiliation, err)
	affiliation, err = admin.GetAffiliation("a", "ca")
	told.note("Identity.GetAffiliation", affiliation, err)
	_, err = admin.GetAffiliation("org3", "")
	told.note("Identity.GetAffiliation that is gone", nil, err)
	all, err := admin.GetAllAffiliations("ca")
	told.note("Identity.GetAllAffiliations", sorted(all), err)
	_, err = admin.RemoveAffiliation(&api.RemoveAffiliationRequest{Name: "a"})
	told.note("Identity.RemoveAffiliation with some below", nil, err)
	affiliation, err = admin.RemoveAffiliation(&api.RemoveAffiliationRequest{Name: "a", Force: true})
	told.note("Identity.RemoveAffiliation by force", affiliation, err)

	// Certificates.
	count := func(what string, request *api.GetCertificatesRequest) {
		number := 0
		err := admin.GetCertificates(request, func(decoder *json.Decoder) error {
			var one struct{ PEM string }
			if err := decoder.Decode(&one); err != nil {
				return err
			}
			if block, _ := pem.Decode([]byte(one.PEM)); block == nil {
				return fmt.Errorf("no PEM: %q", one.PEM)
			}
			number++
			return nil
		})
		told.note("Identity.GetCertificates "+what, number, err)
	}
	count("of nurse", &api.GetCertificatesRequest{ID: "nurse", CAName: "ca"})
	count("that are good", &api.GetCertificatesRequest{ID: "nurse", NotRevoked: true, NotExpired: true})
	count("that expire soon", &api.GetCertificatesRequest{ID: "nurse", Expired: api.TimeRange{EndTime: "+30d"}})
	count("at a time that is none", &api.GetCertificatesRequest{Expired: api.TimeRange{EndTime: "soon"}})

	// Calls by name.
	var named api.GetIDResponse
	told.note("Identity.Get", &named, admin.Get("identities/nurse", "ca", &named))
	var answer api.IdentityResponse
	err = admin.Put("identities/nurse", []byte(`{"attrs":[{"name":"b","value":"2"}]}`), map[string]string{"ca": "ca"}, &answer)
	told.note("Identity.Put", &answer, err)
	answer = api.IdentityResponse{}
	err = admin.Post("identities", []byte(`{"id":"guest","type":"client","secret":"pw","affiliation":"org1"}`), &answer, map[string]string{"ca": "ca"})
	told.note("Identity.Post", &answer, err)
	answer = api.IdentityResponse{}
	told.note("Identity.Delete", &answer, admin.Delete("identities/guest", &answer, map[string]string{"ca": "ca"}))
	number := 0
	err = admin.GetStreamResponse("identities", map[string]string{"ca": "ca"}, "result.identities", func(decoder *json.Decoder) error {
		number++
		return decoder.Decode(&api.IdentityInfo{})
	})
	told.note("Identity.GetStreamResponse", number, err)

	// Revoking.
	before, err := admin.GenCRL(&api.GenCRLRequest{CAName: "ca"})
	must(t, err)
	told.note("Identity.GenCRL before", listed(t, before.CRL) > 0, nil)
	certificate := again.Identity.GetECert().GetX509Cert()
	one, err := admin.Revoke(&api.RevocationRequest{
		Serial: fmt.Sprintf("%x", certificate.SerialNumber), AKI: fmt.Sprintf("%x", certificate.AuthorityKeyId),
		Reason: "superseded", GenCRL: true,
	})
	must(t, err)
	told.note("Identity.Revoke", []any{len(one.RevokedCerts), listed(t, one.CRL)}, nil)
	_, err = admin.Revoke(&api.RevocationRequest{})
	told.note("Identity.Revoke nothing", nil, err)
	_, err = nurse.Revoke(&api.RevocationRequest{Name: "admin"})
	told.note("Identity.Revoke by a nurse", nil, err)
	self, err := nurse.RevokeSelf()
	must(t, err)
	told.note("Identity.RevokeSelf", len(self.RevokedCerts), nil)
	_, err = nurse.Reenroll(&api.ReenrollmentRequest{})
	told.note("Identity.Reenroll after that", nil, err)
	after, err := admin.GenCRL(&api.GenCRLRequest{ExpireAfter: time.Now(), RevokedBefore: time.Now().Add(time.Hour)})
	must(t, err)
	told.note("Identity.GenCRL", listed(t, after.CRL), nil)
	_, err = admin.GenCRL(&api.GenCRLRequest{RevokedAfter: time.Now().Add(time.Hour), RevokedBefore: time.Now()})
	told.note("Identity.GenCRL backwards", nil, err)
}

// Keys of each kind that the library makes, certified, and those of ECDSA used.
func withKeys(t *testing.T, at server, told *account) {
	client := newClient(t, at)
	enrolled, err := client.Enroll(&api.EnrollmentRequest{Name: "admin", Secret: "adminpw"})
	must(t, err)
	_, err = enrolled.Identity.Register(&api.RegistrationRequest{Name: "keys", Type: "client", Secret: "pw", MaxEnrollments: 50})
	must(t, err)
	for _, kind := range []api.KeyRequest{
		{Algo: "ecdsa", Size: 256}, {Algo: "ecdsa", Size: 384}, {Algo: "ecdsa", Size: 521},
		{Algo: "rsa", Size: 2048}, {Algo: "rsa", Size: 3072}, {Algo: "rsa", Size: 4096},
		{Algo: "rsa", Size: 1024}, {Algo: "dsa", Size: 256},
	} {
		call := fmt.Sprintf("Client.Enroll with %s %d", kind.Algo, kind.Size)
		got, err := client.Enroll(&api.EnrollmentRequest{Name: "keys", Secret: "pw", CSR: &api.CSRInfo{KeyRequest: &kind}})
		if !told.note(call, nil, err) {
			continue
		}
		told.note(call+" gave", owner(t, got.Identity), nil)
		_, err = got.Identity.Reenroll(&api.ReenrollmentRequest{})
		told.note("Identity.Reenroll "+call, nil, err)
	}
}

// Idemix is refused in words.
func idemix(t *testing.T, at server, told *account) {
	client := newClient(t, at)
	enrolled, err := client.Enroll(&api.EnrollmentRequest{Name: "admin", Secret: "adminpw"})
	must(t, err)
	_, err = enrolled.Identity.GetCRI(&api.GetCRIRequest{CAName: "ca"})
	told.called["Identity.GetCRI"] = true
	if err == nil || !strings.Contains(err.Error(), "issues no Idemix credentials") {
		t.Errorf("GetCRI: %v", err)
	}
	_, err = client.Enroll(&api.EnrollmentRequest{Name: "admin", Secret: "adminpw", Type: "idemix"})
	if err == nil || !strings.Contains(err.Error(), "issues no Idemix credentials") {
		t.Errorf("Enroll with idemix: %v", err)
	}
}

// Who a signing request is for.
func requested(t *testing.T, csr []byte) any {
	t.Helper()
	block, _ := pem.Decode(csr)
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	must(t, err)
	must(t, parsed.CheckSignature())
	return []any{parsed.Subject.CommonName, parsed.DNSNames}
}

// How many certificates a list of revoked ones has.
func listed(t *testing.T, crl []byte) int {
	t.Helper()
	block, _ := pem.Decode(crl)
	if block == nil {
		t.Fatalf("no PEM: %q", crl)
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	must(t, err)
	return len(list.RevokedCertificateEntries)
}

// The names of a tree of affiliations, which come in an order of chance.
func sorted(tree *api.AffiliationResponse) []string {
	if tree == nil {
		return nil
	}
	var names []string
	var walk func(api.AffiliationInfo)
	walk = func(one api.AffiliationInfo) {
		names = append(names, one.Name)
		for _, below := range one.Affiliations {
			walk(below)
		}
	}
	walk(tree.AffiliationInfo)
	slices.Sort(names)
	return names
}
