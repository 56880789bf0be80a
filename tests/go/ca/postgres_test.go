package ca_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Starts a PostgreSQL server of the test's own, and gives all but the name of a database.
func postgres(t *testing.T) string {
	t.Helper()
	initdb, err := exec.LookPath("initdb")
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		initdb, err = found[len(found)-1], nil
	}
	if err != nil {
		t.Fatalf("PostgreSQL: apt-get install postgresql: %v", err)
	}
	folder, err := os.MkdirTemp("", "postgres")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	// It ends with the tests, however they end.
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 {
		// The server refuses to run as root.
		account, err := user.Lookup("postgres")
		must(t, err)
		uid, err := strconv.Atoi(account.Uid)
		must(t, err)
		gid, err := strconv.Atoi(account.Gid)
		must(t, err)
		must(t, os.Chown(folder, uid, gid))
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	password := filepath.Join(folder, "password")
	must(t, os.WriteFile(password, []byte("secret"), 0o644))
	data := filepath.Join(folder, "data")
	made := exec.Command(initdb, "-D", data, "-U", "ca", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--pwfile", password)
	made.Dir, made.SysProcAttr = folder, attributes
	if said, err := made.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, said)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	must(t, listener.Close())
	log, err := os.Create(filepath.Join(folder, "log"))
	must(t, err)
	server := exec.Command(filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-p", fmt.Sprint(port), "-h", "127.0.0.1", "-k", folder, "-F")
	server.Dir, server.SysProcAttr, server.Stderr = folder, attributes, log
	must(t, server.Start())
	ended := make(chan struct{})
	go func() { _ = server.Wait(); close(ended) }()
	t.Cleanup(func() { _ = server.Process.Signal(syscall.SIGQUIT); <-ended })
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if connection, err := net.Dial("tcp", address); err == nil {
			_ = connection.Close()
			return fmt.Sprintf("host=127.0.0.1 port=%d user=ca password=secret sslmode=disable", port)
		}
		select {
		case <-ended:
			t.Fatalf("PostgreSQL ended; see %s", log.Name())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("PostgreSQL does not answer")
		}
	}
}

// Two servers of either program over one database, which the first has made, are one authority.
func TestOneDatabase(t *testing.T) {
	theirs, ours := programs(t, "fabric-ca-server")
	at := postgres(t)
	for _, pair := range []struct {
		name          string
		first, second program
	}{
		{"ours_beside_fabrics", theirs, ours},
		{"fabrics_beside_ours", ours, theirs},
		{"ours_beside_ours", ours, ours},
	} {
		t.Run(pair.name, func(t *testing.T) {
			options := []string{"-n", "ca", "--db.type", "postgres", "--db.datasource", at + " dbname=" + pair.name}
			first := start(t, pair.first, options...)
			keys, err := filepath.Glob(filepath.Join(first.home, "msp/keystore/*_sk"))
			must(t, err)
			second := start(t, pair.second, append(options, "--ca.certfile", filepath.Join(first.home, "ca-cert.pem"), "--ca.keyfile", keys[0])...)
			servers := []server{first, second}
			admin := first.enroll(t, "admin", "adminpw")
			granted := func(at server, method, path, body string) map[string]any {
				t.Helper()
				told := at.ask(t, request{method: method, path: path, body: body, caller: admin})
				if told.code >= 0 {
					t.Fatalf("%s %s: %+v", method, path, told)
				}
				return told.result.(map[string]any)
			}
			granted(second, "POST", "/register", `{"id":"nurse","secret":"pw","affiliation":"org1","max_enrollments":3,"attrs":[{"name":"ward","value":"7","ecert":true}]}`)
			for number := range 3 {
				servers[number%2].enroll(t, "nurse", "pw")
			}
			csr, _ := signingRequest(t, "nurse")
			for _, at := range servers {
				body := fmt.Sprintf(`{"certificate_request":%q}`, csr)
				told := at.ask(t, request{method: "POST", path: "/enroll", body: body, user: "nurse", password: "pw"})
				if told.status != 401 || told.code != 20 {
					t.Errorf("enrolled a fourth time: %+v", told)
				}
			}
			moment := func(hours time.Duration) string {
				return url.QueryEscape(time.Now().Add(hours * time.Hour).UTC().Format(time.RFC3339))
			}
			certificates := func(at server, query string) int {
				t.Helper()
				list, _ := granted(at, "GET", "/certificates?id=nurse"+query, "")["certs"].([]any)
				return len(list)
			}
			for _, at := range servers {
				if number := certificates(at, ""); number != 3 {
					t.Errorf("%d certificates", number)
				}
				identities := granted(at, "GET", "/identities", "")["identities"].([]any)
				if len(identities) != 2 {
					t.Errorf("%v", identities)
				}
				nurse := granted(at, "GET", "/identities/nurse", "")
				if nurse["affiliation"] != "org1" || nurse["max_enrollments"] != 3.0 {
					t.Errorf("%v", nurse)
				}
			}
			granted(second, "POST", "/affiliations?force=true", `{"name":"a.b"}`)
			granted(first, "GET", "/affiliations/a.b", "")
			revoked := granted(second, "POST", "/revoke", `{"id":"nurse"}`)["RevokedCerts"].([]any)
			if len(revoked) != 3 {
				t.Errorf("%v", revoked)
			}
			for _, at := range servers {
				if number := certificates(at, "&notrevoked=true"); number != 0 {
					t.Errorf("%d certificates are good", number)
				}
				if number := certificates(at, "&revoked_start="+moment(-1)+"&revoked_end="+moment(1)+"&expired_start="+moment(1)); number != 3 {
					t.Errorf("%d certificates were revoked within an hour", number)
				}
				crl, err := base64.StdEncoding.DecodeString(granted(at, "POST", "/gencrl", `{"caname":"ca"}`)["CRL"].(string))
				must(t, err)
				if number := listed(t, crl); number != 3 {
					t.Errorf("%d certificates in the list", number)
				}
			}
		})
	}
}
