// Package application_test is an application on Fabric's gateway SDK for Go: every call of it, and
// every way in which a call fails.
package application_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"consilium/tests/go/contract"
	"consilium/tests/go/network"
)

var (
	ledgers  *network.Network
	name     = fmt.Sprintf("app%d", os.Getpid())
	deployed sync.Once
)

// Deploys the contract once for all tests, and gives an application of the hospital.
func hospital(t *testing.T) *network.Application {
	t.Helper()
	deployed.Do(func() {
		ledgers = network.Load(t)
		serve(t, name, "AND('HospitalMSP.peer','MakerMSP.peer')")
		app := at(t, "hospital")
		ready := app.Gateway(t, client.WithSign(app.Sign)).GetNetwork(ledgers.Channel).GetContract(name)
		network.Eventually(t, "every peer dials the contract", func() error {
			_, err := ready.SubmitTransaction("put", "ready", "yes")
			return err
		})
	})
	return at(t, "hospital")
}

func at(t *testing.T, org string) *network.Application {
	t.Helper()
	member := ledgers.Organization(t, org)
	return ledgers.Application(t, member, "User1", fmt.Sprintf("localhost:%d", member.Ports.Peer))
}

// Deploys the contract under a name and runs it until the process ends.
func serve(t *testing.T, name, policy string) {
	t.Helper()
	port := network.FreePort(t)
	id := deploy(t, name, port, policy)
	go func() {
		// A failure shows in the first call.
		_ = contract.Serve(id, port)
	}()
}

var packageID = regexp.MustCompile(`package id: (\S+)`)

func deploy(t *testing.T, name string, port int, policy string) string {
	t.Helper()
	printed, err := exec.Command(os.Getenv("CONSILIUM"), "network", "deploy", "--dir", ledgers.Dir,
		"--service", fmt.Sprintf("localhost:%d", port), "--policy", policy, name).CombinedOutput()
	if err != nil {
		t.Fatalf("deploy: %v\n%s", err, printed)
	}
	return packageID.FindStringSubmatch(string(printed))[1]
}

func TestCallsAtOnceAndStepByStep(t *testing.T) {
	app := hospital(t)
	gw := app.Gateway(t, client.WithSign(app.Sign))
	shared := gw.GetNetwork(ledgers.Channel).GetContract(name)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	_, err := shared.SubmitTransaction("put", "go-a", "1")
	network.Must(t, err)
	wantValue(t, "1")(shared.EvaluateTransaction("get", "go-a"))
	wantValue(t, "1")(shared.Evaluate("get", client.WithBytesArguments([]byte("go-a"))))
	wantValue(t, "1")(shared.EvaluateWithContext(ctx, "get", client.WithArguments("go-a")))
	if found := shared.ChaincodeName(); found != name {
		t.Fatalf("the contract is called %q", found)
	}

	answer, commit, err := shared.SubmitAsync("announce", client.WithArguments("go-b", "2"))
	network.Must(t, err)
	if string(answer) != commit.TransactionID() {
		t.Fatalf("the contract saw transaction %s, the application %s", answer, commit.TransactionID())
	}
	found, err := commit.Status()
	network.Must(t, err)
	if !found.Successful || found.Code != peer.TxValidationCode_VALID || found.BlockNumber == 0 || found.TransactionID != commit.TransactionID() {
		t.Fatalf("committed as %+v", found)
	}

	proposal, err := shared.NewProposal("put", client.WithArguments("go-c", "3"), client.WithEndorsingOrganizations("MakerMSP", "HospitalMSP"))
	network.Must(t, err)
	wantFailure(t, codes.Aborted, "nothing there")(shared.Submit("get", client.WithArguments("go-c")))
	transaction, err := proposal.EndorseWithContext(ctx)
	network.Must(t, err)
	sent, err := transaction.SubmitWithContext(ctx)
	network.Must(t, err)
	found, err = sent.StatusWithContext(ctx)
	network.Must(t, err)
	if !found.Successful {
		t.Fatalf("committed as %+v", found)
	}
	wantValue(t, "3")(shared.EvaluateTransaction("get", "go-c"))
}

func TestSignedElsewhere(t *testing.T) {
	app := hospital(t)
	// This gateway has no key.
	gw := app.Gateway(t)
	sign := func(digest []byte) []byte {
		signature, err := app.Sign(digest)
		network.Must(t, err)
		return signature
	}
	channel := gw.GetNetwork(ledgers.Channel)
	unsigned, err := channel.GetContract(name).NewProposal("announce", client.WithArguments("go-offline", "4"))
	network.Must(t, err)
	proposal, err := gw.NewSignedProposal(bytesOf(t)(unsigned.Bytes()), sign(unsigned.Digest()))
	network.Must(t, err)
	endorsed, err := proposal.Endorse()
	network.Must(t, err)
	transaction, err := gw.NewSignedTransaction(bytesOf(t)(endorsed.Bytes()), sign(endorsed.Digest()))
	network.Must(t, err)
	sent, err := transaction.Submit()
	network.Must(t, err)
	commit, err := gw.NewSignedCommit(bytesOf(t)(sent.Bytes()), sign(sent.Digest()))
	network.Must(t, err)
	found, err := commit.Status()
	network.Must(t, err)
	if !found.Successful {
		t.Fatalf("committed as %+v", found)
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	asked, err := channel.NewChaincodeEventsRequest(name, client.WithStartBlock(found.BlockNumber))
	network.Must(t, err)
	request, err := gw.NewSignedChaincodeEventsRequest(bytesOf(t)(asked.Bytes()), sign(asked.Digest()))
	network.Must(t, err)
	events, err := request.Events(ctx)
	network.Must(t, err)
	if event := <-events; event == nil || event.TransactionID != found.TransactionID || string(event.Payload) != "4" {
		t.Fatalf("the event is %+v", event)
	}
	wanted, err := channel.NewBlockEventsRequest(client.WithStartBlock(found.BlockNumber))
	network.Must(t, err)
	signed, err := gw.NewSignedBlockEventsRequest(bytesOf(t)(wanted.Bytes()), sign(wanted.Digest()))
	network.Must(t, err)
	blocks, err := signed.Events(ctx)
	network.Must(t, err)
	if block := <-blocks; block.GetHeader().GetNumber() != found.BlockNumber {
		t.Fatalf("the block is %v", block.GetHeader())
	}
}

func TestBlocksOfEachKind(t *testing.T) {
	app := hospital(t)
	channel := app.Gateway(t, client.WithSign(app.Sign)).GetNetwork(ledgers.Channel)
	own := "_implicit_org_HospitalMSP"
	_, commit, err := channel.GetContract(name).SubmitAsync("putPrivate", client.WithArguments(own, "go-private"),
		client.WithTransient(map[string][]byte{"value": []byte("not on the chain")}), client.WithEndorsingOrganizations("HospitalMSP"))
	network.Must(t, err)
	found, err := commit.Status()
	network.Must(t, err)
	if !found.Successful {
		t.Fatalf("committed as %+v", found)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	start := client.WithStartBlock(found.BlockNumber)
	blocks, err := channel.BlockEvents(ctx, start)
	network.Must(t, err)
	if block := <-blocks; block.GetHeader().GetNumber() != found.BlockNumber || len(block.GetData().GetData()) == 0 {
		t.Fatalf("the block is %v", block.GetHeader())
	}
	filtered, err := channel.FilteredBlockEvents(ctx, start)
	network.Must(t, err)
	if !holds(<-filtered, commit.TransactionID()) {
		t.Fatal("the filtered block lacks the transaction")
	}
	private, err := channel.BlockAndPrivateDataEvents(ctx, start)
	network.Must(t, err)
	block := <-private
	if block.GetBlock().GetHeader().GetNumber() != found.BlockNumber {
		t.Fatalf("the block is %v", block.GetBlock().GetHeader())
	}
	if sets := fmt.Sprint(block.GetPrivateDataMap()); !strings.Contains(sets, own) || !strings.Contains(sets, "not on the chain") {
		t.Fatalf("the private data is %s", sets)
	}
}

func holds(block *peer.FilteredBlock, transaction string) bool {
	for _, entry := range block.GetFilteredTransactions() {
		if entry.GetTxid() == transaction && entry.GetTxValidationCode() == peer.TxValidationCode_VALID {
			return true
		}
	}
	return false
}

// While the stream of events is cut again and again, whoever keeps a checkpoint sees every event once.
func TestEventsGoOnAfterTheirCheckpoint(t *testing.T) {
	app := hospital(t)
	member := ledgers.Organization(t, "hospital")
	cuts := newProxy(t, fmt.Sprintf("127.0.0.1:%d", member.Ports.Peer))
	listener := ledgers.Application(t, member, "User1", cuts.address())
	events := listener.Gateway(t, client.WithSign(listener.Sign)).GetNetwork(ledgers.Channel)
	checkpoint, err := client.NewFileCheckpointer(filepath.Join(t.TempDir(), "checkpoint"))
	network.Must(t, err)
	defer checkpoint.Close()

	const total = 40
	shared := app.Gateway(t, client.WithSign(app.Sign)).GetNetwork(ledgers.Channel).GetContract(name)
	_, commit, err := shared.SubmitAsync("put", client.WithArguments("go-before", "6"))
	network.Must(t, err)
	before, err := commit.Status()
	network.Must(t, err)
	submitted := make(chan []string, 1)
	go func() {
		var ids []string
		for at := range total {
			id, err := shared.SubmitTransaction("announce", fmt.Sprintf("go-event%d", at), "7")
			if err != nil {
				t.Errorf("announce: %v", err)
				break
			}
			ids = append(ids, string(id))
		}
		submitted <- ids
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var seen []string
	for len(seen) < total && ctx.Err() == nil && !t.Failed() {
		stream, err := events.ChaincodeEvents(ctx, name, client.WithStartBlock(before.BlockNumber+1), client.WithCheckpoint(checkpoint))
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		for event := range stream {
			if event.EventName != "Announced" {
				t.Fatalf("event %s", event.EventName)
			}
			seen = append(seen, event.TransactionID)
			network.Must(t, checkpoint.CheckpointChaincodeEvent(event))
			if len(seen) == total {
				break
			}
			if len(seen)%5 == 0 {
				cuts.cut()
			}
		}
	}
	sent := <-submitted
	if strings.Join(seen, " ") != strings.Join(sent, " ") {
		t.Fatalf("submitted %d: %v\nseen %d: %v", len(sent), sent, len(seen), seen)
	}
	if cuts.count < 5 {
		t.Fatalf("only %d cuts", cuts.count)
	}
}

func TestFailures(t *testing.T) {
	app := hospital(t)
	gw := app.Gateway(t, client.WithSign(app.Sign))
	channel := gw.GetNetwork(ledgers.Channel)
	shared := channel.GetContract(name)

	t.Run("endorsements differ", func(t *testing.T) {
		_, err := shared.SubmitTransaction("differ", "go-differ")
		wantEndorseError(t, err, codes.Aborted, "ProposalResponsePayloads do not match")
	})
	t.Run("too few organizations", func(t *testing.T) {
		_, err := shared.Submit("put", client.WithArguments("go-few", "8"), client.WithEndorsingOrganizations("HospitalMSP"))
		var failed *client.CommitError
		if !errors.As(err, &failed) || failed.Code != peer.TxValidationCode_ENDORSEMENT_POLICY_FAILURE {
			t.Fatalf("%v", err)
		}
	})
	t.Run("a policy that nobody can satisfy", func(t *testing.T) {
		other := name + "none"
		serve(t, other, "AND('HospitalMSP.peer','AbsentMSP.peer')")
		network.Eventually(t, "the peer dials the contract", func() error {
			_, err := channel.GetContract(other).EvaluateTransaction("put", "a", "b")
			return err
		})
		_, err := channel.GetContract(other).SubmitTransaction("put", "a", "b")
		wantEndorseError(t, err, codes.FailedPrecondition, "no combination of peers can be derived which satisfy the endorsement policy")
	})
	t.Run("the contract fails", func(t *testing.T) {
		_, err := shared.SubmitTransaction("get", "go-absent")
		failed := wantEndorseError(t, err, codes.Aborted, "failed to endorse transaction, see attached details for more info")
		detail := detailsOf(failed)
		if len(detail) == 0 || detail[0].GetMspId() != "HospitalMSP" || !strings.Contains(detail[0].GetMessage(), "chaincode response 500, nothing there") {
			t.Fatalf("details %v", detail)
		}
		wantFailure(t, codes.Unknown, "evaluate call to endorser returned error: chaincode response 500, nothing there")(shared.EvaluateTransaction("get", "go-absent"))
	})
	t.Run("a conflict", func(t *testing.T) {
		_, err := shared.SubmitTransaction("put", "go-conflict", "")
		network.Must(t, err)
		wantCodes(t, shared, peer.TxValidationCode_MVCC_READ_CONFLICT, []string{"add", "go-conflict", "x"}, []string{"add", "go-conflict", "y"})
	})
	t.Run("a phantom", func(t *testing.T) {
		wantCodes(t, shared, peer.TxValidationCode_PHANTOM_READ_CONFLICT, []string{"put", "go-range-a", "9"}, []string{"count", "go-range-", "go-range-z", "go-counted"})
	})
	t.Run("no time left", func(t *testing.T) {
		hurried := app.Gateway(t, client.WithSign(app.Sign), client.WithEvaluateTimeout(time.Second))
		wantFailure(t, codes.DeadlineExceeded, "")(hurried.GetNetwork(ledgers.Channel).GetContract(name).EvaluateTransaction("sleep"))
		// Others go on meanwhile.
		wantValue(t, "yes")(shared.EvaluateTransaction("get", "ready"))
	})
	t.Run("the wrong signature", func(t *testing.T) {
		foreign := at(t, "maker")
		forger := app.Gateway(t, client.WithSign(foreign.Sign))
		_, err := forger.GetNetwork(ledgers.Channel).GetContract(name).SubmitTransaction("put", "go-forged", "10")
		wantEndorseError(t, err, codes.Aborted, "")
		_, commit, err := shared.SubmitAsync("put", client.WithArguments("go-true", "11"))
		network.Must(t, err)
		stranger, err := gw.NewSignedCommit(bytesOf(t)(commit.Bytes()), []byte("no signature"))
		network.Must(t, err)
		_, err = stranger.Status()
		if code := status.Code(err); code != codes.PermissionDenied {
			t.Fatalf("%s: %v", code, err)
		}
	})
	t.Run("no such channel and no such contract", func(t *testing.T) {
		_, err := gw.GetNetwork("nowhere").GetContract(name).EvaluateTransaction("get", "ready")
		if code := status.Code(err); code != codes.Unavailable {
			t.Fatalf("%s: %v", code, err)
		}
		_, err = channel.GetContract("nothing").SubmitTransaction("get", "ready")
		if err == nil || !strings.Contains(err.Error(), "nothing") {
			t.Fatalf("%v", err)
		}
	})
	t.Run("no peer there", func(t *testing.T) {
		gone := ledgers.Application(t, ledgers.Organization(t, "hospital"), "User1", fmt.Sprintf("localhost:%d", network.FreePort(t)))
		_, err := gone.Gateway(t, client.WithSign(gone.Sign)).GetNetwork(ledgers.Channel).GetContract(name).EvaluateTransaction("get", "ready")
		if code := status.Code(err); code != codes.Unavailable {
			t.Fatalf("%s: %v", code, err)
		}
	})
}

// Endorses both calls on the same state, submits them one after the other: the first is valid and the
// second is not.
func wantCodes(t *testing.T, on *client.Contract, second peer.TxValidationCode, calls ...[]string) {
	t.Helper()
	var endorsed []*client.Transaction
	for _, call := range calls {
		proposal, err := on.NewProposal(call[0], client.WithArguments(call[1:]...))
		network.Must(t, err)
		transaction, err := proposal.Endorse()
		network.Must(t, err)
		endorsed = append(endorsed, transaction)
	}
	for at, code := range []peer.TxValidationCode{peer.TxValidationCode_VALID, second} {
		commit, err := endorsed[at].Submit()
		network.Must(t, err)
		found, err := commit.Status()
		network.Must(t, err)
		if found.Code != code {
			t.Fatalf("transaction %d is %v, not %v", at, found.Code, code)
		}
	}
}

func wantValue(t *testing.T, wanted string) func([]byte, error) {
	t.Helper()
	return func(value []byte, err error) {
		t.Helper()
		if err != nil || string(value) != wanted {
			t.Fatalf("%q, %v", value, err)
		}
	}
}

func wantFailure(t *testing.T, code codes.Code, part string) func([]byte, error) {
	t.Helper()
	return func(_ []byte, err error) {
		t.Helper()
		text := fmt.Sprint(err)
		for _, detail := range detailsOf(err) {
			text += " " + detail.GetMessage()
		}
		if status.Code(err) != code || !strings.Contains(text, part) {
			t.Fatalf("%v: %s", status.Code(err), text)
		}
	}
}

func wantEndorseError(t *testing.T, err error, code codes.Code, part string) error {
	t.Helper()
	var failed *client.EndorseError
	if !errors.As(err, &failed) || failed.TransactionID == "" {
		t.Fatalf("no error of endorsing: %v", err)
	}
	wantFailure(t, code, part)(nil, err)
	return err
}

func detailsOf(err error) []*gateway.ErrorDetail {
	var found []*gateway.ErrorDetail
	for _, detail := range status.Convert(err).Details() {
		if one, ok := detail.(*gateway.ErrorDetail); ok {
			found = append(found, one)
		}
	}
	return found
}

func bytesOf(t *testing.T) func([]byte, error) []byte {
	t.Helper()
	return func(content []byte, err error) []byte {
		t.Helper()
		network.Must(t, err)
		return content
	}
}
