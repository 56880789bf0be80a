// Package sdk puts Fabric's gateway SDKs to work: the one for Go in this process, the one for Node in
// a child process. Their clients submit one transaction after the other through the peers' gateways,
// each with a key of its own. What every transaction came to, as its client saw it, is kept, and
// compared with the chains of all peers afterwards.
package sdk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/network"
	"consilium/tests/ordering/verify"
)

const (
	// Pace is how long a client rests after a transaction, and Pause after one that failed.
	Pace  = 20 * time.Millisecond
	Pause = 100 * time.Millisecond

	// What applications commonly allow Submit. The other steps have time even on a machine that is
	// busy with other work: they must not fail.
	endorseTimeout = 60 * time.Second
	submitTimeout  = 5 * time.Second
	commitTimeout  = 60 * time.Second
)

// The steps of a transaction.
const (
	endorse = "endorse"
	submit  = "submit"
	status  = "commit status"
	commit  = "commit"
)

// Outcome is what a client saw of one transaction.
type Outcome struct {
	ID string `json:"id"`
	// Acknowledged says that the gateway's Submit succeeded.
	Acknowledged bool `json:"acknowledged"`
	// Failed is the step that failed; empty when the transaction was committed as valid.
	Failed  string     `json:"failed"`
	Code    codes.Code `json:"code"`
	Message string     `json:"message"`
}

// retriable says whether an application may simply send another transaction, or this one again: the
// service was away for a moment. Endorsement and commit status concern peers alone, which nothing
// happens to: there no failure is expected at all. Submit may end with
//   - UNAVAILABLE: no orderer took the transaction within the gateway's own bounds;
//   - DEADLINE_EXCEEDED: an orderer that is cut off, or waits for a leader, did not answer within the
//     client's deadline, which is shorter than the gateway's patience with one orderer.
func (o *Outcome) retriable() bool {
	return o.Failed == submit && (o.Code == codes.Unavailable || o.Code == codes.DeadlineExceeded)
}

// kit is an SDK: it runs clients until the context ends, and gives back when all are done.
type kit interface {
	name() string
	run(ctx context.Context, report func(Outcome)) error
}

// Load is a number of clients of every SDK at every peer.
type Load struct {
	network *network.Network
	stop    context.CancelFunc
	works   []*work
}

// work is what the clients of one SDK have done.
type work struct {
	kit     kit
	done    chan struct{}
	mutex   sync.Mutex
	all     []Outcome
	success int
	err     error
}

// Start starts clients of every SDK at every peer of the network. They stop at the end of the test at
// the latest.
func Start(t testing.TB, net *network.Network, clients int) *Load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	load := &Load{network: net, stop: stop}
	for _, kit := range []kit{newGo(t, net, clients), newNode(t, net, clients)} {
		work := &work{kit: kit, done: make(chan struct{})}
		load.works = append(load.works, work)
		go func() {
			defer close(work.done)
			err := kit.run(ctx, work.note)
			if err == nil && ctx.Err() == nil {
				err = errors.New("the clients ended by themselves")
			}
			work.mutex.Lock()
			work.err = err
			work.mutex.Unlock()
		}()
	}
	t.Cleanup(func() { load.Stop(t) })
	return load
}

func (w *work) note(outcome Outcome) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.all = append(w.all, outcome)
	if outcome.Failed == "" {
		w.success++
	}
}

func (w *work) committed() (int, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.success, w.err
}

// String sums up how it went.
func (w *work) String() string {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	text := fmt.Sprintf("%s: %d committed", w.kit.name(), w.success)
	for reason, times := range w.failures(func(*Outcome) bool { return true }) {
		text += fmt.Sprintf("; %d times %s", times, reason)
	}
	return text
}

// failures counts the failures that a filter lets through, by what was said. The mutex is held.
func (w *work) failures(which func(*Outcome) bool) map[string]int {
	found := map[string]int{}
	for index := range w.all {
		if outcome := &w.all[index]; outcome.Failed != "" && which(outcome) {
			found[fmt.Sprintf("%s: %s: %s", outcome.Failed, outcome.Code, outcome.Message)]++
		}
	}
	return found
}

// Target does nothing: a gateway finds the orderers in the channel's configuration.
func (l *Load) Target(...*network.Node) {}

// Await waits until every SDK has committed that many more transactions.
func (l *Load) Await(t testing.TB, more int, what string) {
	t.Helper()
	before := make([]int, len(l.works))
	for index, work := range l.works {
		before[index], _ = work.committed()
	}
	for index, work := range l.works {
		network.Within(t, 60*time.Second, fmt.Sprintf("%d more transactions are committed %s", more, what), func() bool {
			count, err := work.committed()
			if err != nil {
				t.Fatalf("%s: %v", work.kit.name(), err)
			}
			return count >= before[index]+more
		}, work.String)
	}
}

// Stop ends the clients and waits until each has finished its transaction.
func (l *Load) Stop(t testing.TB) {
	t.Helper()
	l.stop()
	for _, work := range l.works {
		select {
		case <-work.done:
		case <-time.After(endorseTimeout + submitTimeout + commitTimeout + 10*time.Second):
			t.Fatalf("the clients do not stop; %s", work)
		}
		if _, err := work.committed(); err != nil {
			t.Errorf("%s: %v", work.kit.name(), err)
		}
	}
}

// Check stops the load and looks at everything that it did: errors were ones to retry after, and every
// transaction that was acknowledged, or more, is valid in the chain that all peers and these orderers
// have.
func (l *Load) Check(t testing.TB, nodes ...*network.Node) *verify.Chain {
	t.Helper()
	l.Stop(t)
	if len(nodes) == 0 {
		nodes = l.network.Running()
	}
	chain := l.network.EqualChains(t, nodes...)
	for _, peer := range l.network.Peers {
		found := ledger(t, l.network, peer, chain)
		for _, work := range l.works {
			work.expectIn(t, peer.Name, found)
		}
	}
	for _, work := range l.works {
		work.expectOnlyErrorsToRetry(t)
	}
	return chain
}

func (w *work) expectIn(t testing.TB, where string, found map[string]peer.TxValidationCode) {
	t.Helper()
	acknowledged, wrong := 0, 0
	for _, outcome := range w.all {
		code, there := found[outcome.ID]
		if outcome.Acknowledged {
			acknowledged++
		}
		lost := outcome.Acknowledged && !there
		// Nobody else writes its key, and no policy changes.
		invalid := there && code != peer.TxValidationCode_VALID
		if lost || invalid {
			if wrong++; wrong <= 5 {
				t.Errorf("%s: at %s: %+v: in the chain: %v, %s", w.kit.name(), where, outcome, there, code)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%s: at %s %d transactions are lost or invalid", w.kit.name(), where, wrong)
	}
	if acknowledged == 0 {
		t.Errorf("%s: no transaction was acknowledged", w.kit.name())
	}
	t.Logf("%s: %d acknowledged transactions looked up at %s", w.kit.name(), acknowledged, where)
}

func (w *work) expectOnlyErrorsToRetry(t testing.TB) {
	t.Helper()
	for reason, times := range w.failures(func(outcome *Outcome) bool { return !outcome.retriable() }) {
		t.Errorf("%s: not to be retried, %d times: %s", w.kit.name(), times, reason)
	}
	t.Log(w)
}

// ledger reads a peer's blocks, compares them with the orderers' chain, and gives back the validation
// codes of all transactions. Of an id that is there more than once the valid one counts: the gateway
// sends a transaction again when an orderer's answer got lost.
func ledger(t testing.TB, net *network.Network, from *network.Peer, chain *verify.Chain) map[string]peer.TxValidationCode {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	found, next := map[string]peer.TxValidationCode{}, uint64(0)
	err := from.Client.Deliver(ctx, net.Channel, 0, chain.Height-1, from.Organization.Client, func(block *common.Block) error {
		header, err := verify.HeaderBytes(block.Header)
		if err != nil {
			return err
		}
		if hash := sha256.Sum256(header); block.Header.Number != next || !bytes.Equal(hash[:], chain.Hashes[next]) {
			return fmt.Errorf("block %d after %d blocks is not the orderers'", block.Header.Number, next)
		}
		next++
		flags := block.Metadata.Metadata[common.BlockMetadataIndex_TRANSACTIONS_FILTER]
		if len(flags) != len(block.Data.Data) {
			return fmt.Errorf("block %d has %d transactions and %d codes", block.Header.Number, len(block.Data.Data), len(flags))
		}
		for index, envelope := range block.Data.Data {
			header, _, err := client.Parse(envelope)
			if err != nil {
				return err
			}
			code := peer.TxValidationCode(flags[index])
			if header.Type == int32(common.HeaderType_CONFIG) {
				// It has no id.
				continue
			}
			before, repeated := found[header.TxId]
			switch {
			case !repeated:
				found[header.TxId] = code
			case code != peer.TxValidationCode_DUPLICATE_TXID:
				return fmt.Errorf("transaction %s is %s and later %s", header.TxId, before, code)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("blocks of %s: %v", from.Name, err)
	}
	if next != chain.Height {
		t.Fatalf("%s has %d blocks of %d", from.Name, next, chain.Height)
	}
	return found
}
