// Package ca_test asks Fabric CA's own server and ours the same, and has both programs for the command
// line talk to both servers.
package ca_test

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Where our answer is another on purpose; docs/ca.md has the reasons.
var ownWords = regexp.MustCompile(`^(Invalid request body|Certificate signing failure|Failed to find requested attributes|Invalid Request: Invalid '\w+' value|Registration of '\w+' failed).*`)

// Of every certificate another.
var hexNumber = regexp.MustCompile(`\b[0-9a-f]{32,}\b`)

// Every path, verb and refusal gives the same status, code, reason and result at both servers.
func TestSameAnswers(t *testing.T) {
	theirs, ours := programs(t, "fabric-ca-server")
	options := []string{"-n", "ca", "--cfg.identities.allowremove", "--cfg.affiliations.allowremove", "--registry.maxenrollments", "5"}
	servers := []server{start(t, theirs, options...), start(t, ours, options...)}
	// By name and server, who has enrolled.
	enrolled := map[string][]*identity{}
	enroll := func(name, password string) {
		t.Helper()
		for _, at := range servers {
			enrolled[name] = append(enrolled[name], at.enroll(t, name, password))
		}
	}
	// Asks both, and compares what is not of chance.
	both := func(caller, method, path, body string) answer {
		t.Helper()
		var told []answer
		for number, at := range servers {
			asked := request{method: method, path: path, body: body}
			switch name, password, basic := strings.Cut(caller, ":"); {
			case basic:
				asked.user, asked.password = name, password
			case strings.HasPrefix(caller, "="):
				asked.header = caller[1:]
			case caller != "":
				asked.caller = enrolled[caller][number]
			}
			if strings.Contains(body, "{CERT:") {
				asked.body = withCertificate(t, body, enrolled, number)
			}
			if strings.Contains(body, "{CSR:") {
				asked.body = withRequest(t, body)
			}
			got := at.ask(t, asked)
			got.reason = ownWords.ReplaceAllString(got.reason, "$1")
			got.reason = hexNumber.ReplaceAllString(got.reason, "N")
			got.result = steady(got.result)
			told = append(told, got)
		}
		if !reflect.DeepEqual(told[0], told[1]) {
			t.Errorf("%s %s %s as %q\n--- Fabric's\n%+v\n--- ours\n%+v", method, path, body, caller, told[0], told[1])
		}
		return told[1]
	}
	refused := func(status int, code float64, caller, method, path, body string) {
		t.Helper()
		if told := both(caller, method, path, body); told.status != status || told.code != code {
			t.Errorf("%s %s %s as %q: %d and code %v wanted, not %+v", method, path, body, caller, status, code, told)
		}
	}
	granted := func(caller, method, path, body string) {
		t.Helper()
		if told := both(caller, method, path, body); told.code >= 0 {
			t.Errorf("%s %s %s as %q: %+v", method, path, body, caller, told)
		}
	}
	identities, affiliations, certificates := "/api/v1/identities", "/api/v1/affiliations", "/api/v1/certificates"

	// Before anybody is known.
	refused(405, 1, "", "DELETE", "/cainfo", "")
	refused(405, 1, "", "GET", "/api/v1/enroll", "")
	refused(405, 1, "", "POST", identities+"/x", "")
	refused(404, 19, "", "GET", "/cainfo?ca=other", "")
	refused(401, 2, "", "POST", "/enroll", "{}")
	refused(401, 2, "", "GET", identities, "")
	refused(401, 20, "=Bearer x", "POST", "/enroll", "{}")
	refused(401, 20, "nobody:pw", "POST", "/enroll", "{}")
	refused(401, 20, "admin:wrong", "POST", "/enroll", "{}")
	refused(401, 20, "=a.b", "GET", affiliations, "")
	refused(400, 4, "admin:adminpw", "POST", "/enroll", "")
	refused(400, 5, "admin:adminpw", "POST", "/enroll", "{")
	refused(404, 19, "admin:adminpw", "POST", "/enroll", `{"caname":"other"}`)
	refused(400, 31, "admin:adminpw", "POST", "/enroll", `{"certificate_request":"x"}`)
	refused(403, 77, "admin:adminpw", "POST", "/enroll", `{"certificate_request":"{CSR:other}"}`)
	refused(500, 0, "admin:adminpw", "POST", "/enroll", `{"certificate_request":"{CSR:admin}","profile":"none"}`)
	refused(500, 0, "admin:adminpw", "POST", "/enroll", `{"certificate_request":"{CSR:admin}","attr_reqs":[{"name":"none"}]}`)
	enroll("admin", "adminpw")
	granted("admin", "POST", "/reenroll", `{"certificate_request":"{CSR:admin}"}`)
	refused(400, 4, "admin", "POST", "/reenroll", "")

	// Registering.
	register := func(id, more string) string {
		return fmt.Sprintf(`{"id":%q,"secret":"pw","affiliation":"org1"%s}`, id, more)
	}
	granted("admin", "POST", "/register", register("user", ""))
	granted("admin", "POST", "/register", register("peers", `,"attrs":[{"name":"hf.Registrar.Roles","value":"peer"},{"name":"hf.AffiliationMgr","value":"false"}]`))
	granted("admin", "POST", "/register", register("revoker", `,"attrs":[{"name":"hf.Revoker","value":"true"}]`))
	refused(409, 74, "admin", "POST", "/register", register("user", ""))
	refused(400, 82, "admin", "POST", "/register", register("x", `,"max_enrollments":6`))
	refused(400, 82, "admin", "POST", "/register", register("x", `,"max_enrollments":-2`))
	refused(403, 71, "admin", "POST", "/register", register("x", `,"attrs":[{"name":"hf.Type","value":"a"}]`))
	refused(400, 4, "admin", "POST", "/register", "")
	for _, name := range []string{"user", "peers", "revoker"} {
		enroll(name, "pw")
	}
	refused(403, 71, "user", "POST", "/register", register("x", ""))
	refused(403, 71, "peers", "POST", "/register", register("x", `,"type":"client"`))

	// Identities.
	granted("admin", "GET", identities, "")
	granted("admin", "GET", identities+"/user", "")
	granted("peers", "GET", identities, "")
	refused(403, 71, "user", "GET", identities, "")
	refused(403, 71, "peers", "GET", identities+"/user", "")
	refused(404, 63, "admin", "GET", identities+"/nobody", "")
	refused(400, 52, "admin", "POST", identities, `{}`)
	granted("admin", "POST", identities, `{"id":"added","type":"client","affiliation":"org1","secret":"pw","attrs":[{"name":"a","value":"1"},{"name":"b","value":"2"}]}`)
	granted("admin", "PUT", identities+"/added", `{"affiliation":"org2","type":"peer","max_enrollments":3,"attrs":[{"name":"a","value":""},{"name":"b","value":"3","ecert":true}]}`)
	granted("admin", "PUT", identities+"/added", `{"affiliation":".","max_enrollments":-2,"secret":"other"}`)
	refused(400, 58, "admin", "PUT", identities+"/added", `{"affiliation":"none"}`)
	refused(403, 71, "admin", "PUT", identities+"/added", `{"attrs":[{"name":"hf.Other","value":"1"}]}`)
	refused(404, 63, "admin", "PUT", identities+"/nobody", `{}`)
	refused(403, 56, "admin", "DELETE", identities+"/admin", "")
	refused(400, 61, "admin", "DELETE", identities+"/added?force=perhaps", "")
	refused(404, 63, "admin", "DELETE", identities+"/nobody", "")
	granted("admin", "DELETE", identities+"/added?force=true", "")

	// Affiliations. Fabric's answers 201 to every question after the first addition, so the questions
	// come first.
	granted("admin", "GET", affiliations+"/org1", "")
	refused(403, 71, "user", "GET", affiliations, "")
	refused(403, 71, "peers", "GET", affiliations, "")
	refused(404, 63, "admin", "GET", affiliations+"/none", "")
	granted("admin", "POST", affiliations, `{"name":"org3"}`)
	granted("admin", "POST", affiliations+"?force=true", `{"name":"org4.a.b"}`)
	refused(409, 60, "admin", "POST", affiliations, `{"name":"org3"}`)
	refused(404, 63, "admin", "POST", affiliations, `{"name":"none.a"}`)
	granted("admin", "PUT", affiliations+"/org3", `{"name":"org5"}`)
	refused(400, 60, "admin", "PUT", affiliations+"/org5?force=perhaps", `{"name":"org6"}`)
	refused(404, 63, "admin", "PUT", affiliations+"/none", `{"name":"org6"}`)
	refused(400, 64, "admin", "PUT", affiliations+"/org1", `{"name":"org6"}`)
	refused(403, 71, "admin", "DELETE", affiliations+"/org4", "")
	refused(403, 71, "admin", "DELETE", affiliations+"/org1", "")
	refused(404, 63, "admin", "DELETE", affiliations+"/none", "")
	refused(400, 61, "admin", "DELETE", affiliations+"/org4?force=perhaps", "")
	granted("admin", "DELETE", affiliations+"/org4?force=true", "")

	// Certificates and revocation.
	granted("admin", "GET", certificates+"?id=nobody", "")
	refused(400, 67, "admin", "GET", certificates+"?notexpired=true&expired_end=%2B1d", "")
	refused(400, 67, "admin", "GET", certificates+"?notrevoked=perhaps", "")
	refused(400, 67, "admin", "GET", certificates+"?revoked_start=yesterday", "")
	refused(403, 71, "user", "GET", certificates, "")
	refused(500, 0, "admin", "DELETE", certificates, "")
	granted("revoker", "GET", certificates+"?id=nobody", "")
	refused(400, 15, "admin", "POST", "/revoke", `{}`)
	refused(404, 8, "admin", "POST", "/revoke", `{"serial":"1","aki":"1"}`)
	refused(404, 10, "admin", "POST", "/revoke", `{"id":"nobody"}`)
	refused(403, 71, "user", "POST", "/revoke", `{"id":"admin"}`)
	refused(403, 71, "revoker", "POST", "/revoke", `{"id":"admin"}`)
	refused(400, 9, "admin", "POST", "/revoke", `{"id":"admin",{CERT:user}}`)
	granted("admin", "POST", "/revoke", `{"id":"user","gencrl":true,{CERT:user}}`)
	refused(404, 66, "admin", "POST", "/revoke", `{{CERT:user}}`)
	refused(401, 20, "user", "GET", identities, "")
	granted("admin", "POST", "/revoke", `{"id":"peers","reason":"keycompromise"}`)
	refused(401, 20, "peers:pw", "POST", "/enroll", "{}")
	granted("admin", "POST", "/gencrl", `{}`)
	refused(400, 36, "admin", "POST", "/gencrl", `{"revokedafter":"2030-01-01T00:00:00Z","revokedbefore":"2020-01-01T00:00:00Z"}`)
	refused(400, 37, "admin", "POST", "/gencrl", `{"expireafter":"2030-01-01T00:00:00Z","expirebefore":"2020-01-01T00:00:00Z"}`)
	refused(403, 71, "revoker", "POST", "/gencrl", `{}`)

	// Locked.
	for range 9 {
		refused(401, 20, "revoker:wrong", "POST", "/enroll", "{}")
	}
	refused(401, 20, "revoker:wrong", "POST", "/enroll", "{}")
	refused(401, 73, "revoker:pw", "POST", "/enroll", "{}")
}

// Replaces `{CERT:name}` by serial number and authority of somebody's certificate.
func withCertificate(t *testing.T, body string, enrolled map[string][]*identity, number int) string {
	t.Helper()
	before, after, _ := strings.Cut(body, "{CERT:")
	name, after, _ := strings.Cut(after, "}")
	block, _ := pem.Decode(enrolled[name][number].certificate)
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	named := fmt.Sprintf(`"serial":"%x","aki":"%s"`, certificate.SerialNumber, hex.EncodeToString(certificate.AuthorityKeyId))
	return before + named + after
}

// Replaces `{CSR:name}` by a request for a certificate.
func withRequest(t *testing.T, body string) string {
	t.Helper()
	before, after, _ := strings.Cut(body, "{CSR:")
	name, after, _ := strings.Cut(after, "}")
	csr, _ := signingRequest(t, name)
	text, err := json.Marshal(csr)
	must(t, err)
	return before + strings.Trim(string(text), `"`) + after
}

// What does not differ from one server to the other: names of what is made by chance instead of it,
// and lists in order, since Go's maps have none.
func steady(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			switch name {
			case "Cert", "CAChain", "CRL", "IssuerPublicKey", "IssuerRevocationPublicKey", "Serial", "AKI", "Version":
				if name == "CRL" && inner != "" || name == "Serial" || name == "AKI" || name == "Cert" || name == "CAChain" {
					value[name] = "some"
				} else if name != "CRL" {
					// Of idemix, and the program's own.
					delete(value, name)
				}
			default:
				value[name] = steady(inner)
			}
		}
		return value
	case []any:
		for number, inner := range value {
			value[number] = steady(inner)
		}
		slices.SortFunc(value, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		return value
	default:
		return value
	}
}
