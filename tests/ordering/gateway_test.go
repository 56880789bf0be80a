package ordering

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gateway "github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-gateway/pkg/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"consilium/tests/ordering/network"
)

// consortium is a whole network of `consilium network up`.
type consortium struct {
	Channel       string
	Organizations []struct {
		Name   string
		MSPID  string `json:"msp_id"`
		Domain string
		Ports  struct {
			Peer              int
			OrdererOperations int `json:"orderer_operations"`
		}
	}

	folder string
	binary string
}

func startConsortium(t *testing.T) *consortium {
	t.Helper()
	made := &consortium{folder: filepath.Join(t.TempDir(), "network"), binary: network.Binary(t)}
	t.Cleanup(func() {
		_ = exec.Command(made.binary, "network", "down", "--dir", made.folder, "--clean").Run()
	})
	made.up(t, "--free-ports")
	description, err := os.ReadFile(filepath.Join(made.folder, "network.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(description, made); err != nil {
		t.Fatal(err)
	}
	return made
}

// up starts what does not run.
func (c *consortium) up(t *testing.T, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, c.binary, append([]string{"network", "up", "--dir", c.folder}, arguments...)...)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("network up: %v\n%s", err, output)
	}
}

// leader is the domain of the organization whose orderer leads.
func (c *consortium) leader(t *testing.T) string {
	t.Helper()
	leads := regexp.MustCompile(`(?m)^consensus_etcdraft_is_leader\{[^}]*\} 1$`)
	caller := &http.Client{Timeout: 2 * time.Second}
	found := ""
	network.Within(t, 30*time.Second, "an orderer leads", func() bool {
		for _, organization := range c.Organizations {
			response, err := caller.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", organization.Ports.OrdererOperations))
			if err != nil {
				continue
			}
			text := &strings.Builder{}
			_ = response.Write(text)
			_ = response.Body.Close()
			if leads.MatchString(strings.ReplaceAll(text.String(), "\r", "")) {
				found = organization.Domain
				return true
			}
		}
		return false
	})
	return found
}

func (c *consortium) killOrderer(t *testing.T, domain string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.folder, "run", "orderer0."+domain+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	network.Within(t, 10*time.Second, "the orderer is gone", func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(state), ") Z ")
	})
}

// contract is the key-value contract, as a user of an organization calls it.
func (c *consortium) contract(t *testing.T, at int) *gateway.Contract {
	t.Helper()
	organization := c.Organizations[at]
	user := filepath.Join(c.folder, "organizations", organization.Domain, "users", "User1@"+organization.Domain)
	only := func(folder string) []byte {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(user, "msp", folder, "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no file in %s/msp/%s", user, folder)
		}
		content, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(user, "tls", "client.crt"), filepath.Join(user, "tls", "client.key"))
	check(err)
	root, err := os.ReadFile(filepath.Join(user, "tls", "ca.crt"))
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	connection, err := grpc.NewClient(fmt.Sprintf("localhost:%d", organization.Ports.Peer),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}})))
	check(err)
	t.Cleanup(func() { _ = connection.Close() })
	certificate, err := identity.CertificateFromPEM(only("signcerts"))
	check(err)
	id, err := identity.NewX509Identity(organization.MSPID, certificate)
	check(err)
	key, err := identity.PrivateKeyFromPEM(only("keystore"))
	check(err)
	sign, err := identity.NewPrivateKeySign(key)
	check(err)
	connected, err := gateway.Connect(id, gateway.WithSign(sign), gateway.WithHash(hash.SHA256),
		gateway.WithClientConnection(connection),
		gateway.WithEndorseTimeout(20*time.Second), gateway.WithSubmitTimeout(20*time.Second),
		gateway.WithCommitStatusTimeout(60*time.Second))
	check(err)
	t.Cleanup(func() { _ = connected.Close() })
	return connected.GetNetwork(c.Channel).GetContract("kv")
}

// retriable says whether an application may simply try again: the service was away for a moment.
func retriable(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

func TestFaultTheGatewaySDKSeesOnlyErrorsToRetryWhileLeadersAreKilled(t *testing.T) {
	injectsFaults(t)
	rounds := number(t, "FAULT_GATEWAY_ROUNDS", 5)
	members := startConsortium(t)
	ctx, stop := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	defer func() { stop(); workers.Wait() }()

	var mutex sync.Mutex
	committed, retries, failures := map[string]string{}, map[string]int{}, map[string]int{}
	count := func() int {
		mutex.Lock()
		defer mutex.Unlock()
		return len(committed)
	}
	for worker := range 2 * len(members.Organizations) {
		contract := members.contract(t, worker%len(members.Organizations))
		workers.Go(func() {
			for sequence := 0; ctx.Err() == nil; sequence++ {
				key, value := fmt.Sprintf("worker %d key %d", worker, sequence), fmt.Sprint(sequence)
				_, err := contract.SubmitTransaction("put", key, value)
				mutex.Lock()
				if err == nil {
					committed[key] = value
				} else if retriable(err) {
					retries[describe(err)]++
				} else {
					failures[describe(err)]++
				}
				mutex.Unlock()
				if err != nil {
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	}
	await := func(what string) {
		t.Helper()
		wanted := count() + 12
		network.Within(t, 60*time.Second, "transactions are committed "+what, func() bool { return count() >= wanted })
	}
	for range rounds {
		await("before the leader is killed")
		members.killOrderer(t, members.leader(t))
		await("without the leader")
		members.up(t)
	}
	await("when all orderers are back")
	stop()
	workers.Wait()

	for failure, times := range failures {
		t.Errorf("%d times: %s", times, failure)
	}
	for at := range members.Organizations {
		contract := members.contract(t, at)
		for key, value := range committed {
			var read []byte
			network.Within(t, 20*time.Second, key+" at "+members.Organizations[at].Name, func() bool {
				var err error
				read, err = contract.EvaluateTransaction("get", key)
				return err == nil && string(read) == value
			})
		}
	}
	t.Logf("%d transactions committed and found at every peer", len(committed))
	for reason, times := range retries {
		t.Logf("to be tried again, %d times: %s", times, reason)
	}
}

// describe names the step of a transaction that failed.
func describe(err error) string {
	var endorse *gateway.EndorseError
	var submit *gateway.SubmitError
	var commitStatus *gateway.CommitStatusError
	var commit *gateway.CommitError
	switch {
	case errors.As(err, &endorse):
		return "endorse: " + err.Error()
	case errors.As(err, &submit):
		return "submit: " + err.Error()
	case errors.As(err, &commitStatus):
		return "commit status: " + err.Error()
	case errors.As(err, &commit):
		return fmt.Sprintf("commit: code %s", commit.Code)
	default:
		return err.Error()
	}
}
