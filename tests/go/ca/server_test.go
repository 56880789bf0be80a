package ca_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// How to run a program: Fabric CA's own by its path, ours by a first word.
type program struct {
	path string
	word []string
}

// Fabric CA's program of that name, and ours.
func programs(t *testing.T, name string) (theirs, ours program) {
	t.Helper()
	folder, consilium := os.Getenv("FABRIC_CA_BIN"), os.Getenv("CONSILIUM")
	if folder == "" || consilium == "" {
		t.Fatal("set FABRIC_CA_BIN to the folder of Fabric CA's programs and CONSILIUM to ours")
	}
	return program{path: filepath.Join(folder, name)}, program{path: consilium, word: []string{name}}
}

func (p program) command(ctx context.Context, home string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, p.path, append(append([]string{}, p.word...), args...)...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
	command.Dir = home
	return command
}

// A running server.
type server struct {
	url  string
	home string
}

// Starts a server with the same options in any program, and waits until it answers.
func start(t *testing.T, p program, options ...string) server {
	t.Helper()
	for {
		// Whoever connects somewhere may be given the port meanwhile.
		if running, taken := startOnce(t, p, options...); !taken {
			return running
		}
	}
}

// As start; or tells that the port was taken.
func startOnce(t *testing.T, p program, options ...string) (running server, taken bool) {
	t.Helper()
	home := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	must(t, listener.Close())
	args := append([]string{"start", "-H", home, "-b", "admin:adminpw", "--address", "127.0.0.1", "-p", fmt.Sprint(port)}, options...)
	ctx, cancel := context.WithCancel(context.Background())
	command := p.command(ctx, home, args...)
	// Each server would take the same port for its metrics.
	command.Env = append(command.Env, "FABRIC_CA_SERVER_OPERATIONS_LISTENADDRESS=127.0.0.1:0")
	var said bytes.Buffer
	command.Stderr = &said
	must(t, command.Start())
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	running = server{url: fmt.Sprintf("http://127.0.0.1:%d", port), home: home}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if response, err := http.Get(running.url + "/cainfo"); err == nil {
			_ = response.Body.Close()
			return running, false
		}
		select {
		case <-ended:
			if strings.Contains(strings.ToLower(said.String()), "address already in use") {
				return server{}, true
			}
			t.Fatalf("%v ended: %s", args, said.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v does not answer: %s", args, said.String())
		}
	}
}

// Who has a certificate.
type identity struct {
	certificate []byte
	key         *ecdsa.PrivateKey
}

// What was answered.
type answer struct {
	status int
	result any
	code   float64
	reason string
}

type request struct {
	method, path, body string
	// Name and password, or else a token.
	user, password string
	caller         *identity
	// Instead of either.
	header string
}

func (s server) ask(t *testing.T, asked request) answer {
	t.Helper()
	sent, err := http.NewRequest(asked.method, s.url+asked.path, strings.NewReader(asked.body))
	must(t, err)
	switch {
	case asked.header != "":
		sent.Header.Set("Authorization", asked.header)
	case asked.user != "":
		sent.SetBasicAuth(asked.user, asked.password)
	case asked.caller != nil:
		sent.Header.Set("Authorization", asked.caller.token(t, asked.method, sent.URL, asked.body))
	}
	response, err := http.DefaultClient.Do(sent)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	var envelope struct {
		Result  any
		Success bool
		Errors  []struct {
			Code    float64
			Message string
		}
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		t.Fatalf("%s %s: %v: %s", asked.method, asked.path, err, text)
	}
	told := answer{status: response.StatusCode, result: envelope.Result, code: -1}
	if len(envelope.Errors) > 0 {
		told.code, told.reason = envelope.Errors[0].Code, envelope.Errors[0].Message
	}
	if envelope.Success != (told.code < 0) {
		t.Errorf("%s %s: success is %v: %s", asked.method, asked.path, envelope.Success, text)
	}
	return told
}

// fabric-ca: util.CreateToken
func (i *identity) token(t *testing.T, method string, at *url.URL, body string) string {
	t.Helper()
	encode := base64.StdEncoding.EncodeToString
	certificate := encode(i.certificate)
	payload := method + "." + encode([]byte(at.RequestURI())) + "." + encode([]byte(body)) + "." + certificate
	digest := sha256.Sum256([]byte(payload))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	must(t, err)
	// The lower one of two, as Fabric wants it.
	if half := new(big.Int).Rsh(i.key.Params().N, 1); s.Cmp(half) > 0 {
		s.Sub(i.key.Params().N, s)
	}
	signature, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	must(t, err)
	return certificate + "." + encode(signature)
}

func signingRequest(t *testing.T, name string) (string, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})), key
}

func (s server) enroll(t *testing.T, name, password string) *identity {
	t.Helper()
	csr, key := signingRequest(t, name)
	body, err := json.Marshal(map[string]string{"certificate_request": csr})
	must(t, err)
	told := s.ask(t, request{method: "POST", path: "/api/v1/enroll", body: string(body), user: name, password: password})
	if told.status != 201 {
		t.Fatalf("%s is not enrolled: %+v", name, told)
	}
	certificate, err := base64.StdEncoding.DecodeString(told.result.(map[string]any)["Cert"].(string))
	must(t, err)
	return &identity{certificate: certificate, key: key}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
