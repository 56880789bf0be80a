// Package load sends messages to an ordering service without pause, keeps a record of every message
// that was acknowledged, and looks them all up in the chain afterwards.
package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/network"
	"consilium/tests/ordering/verify"
)

// Patience is how long a client waits for one answer before it turns to another node.
const Patience = 8 * time.Second

// Pace is how long a client rests after an acknowledged message: nodes and tests share the cores.
const Pace = 10 * time.Millisecond

// Load is a number of clients that each send one message after the other. A client tries a message
// at one node after the other until one acknowledges it: a message may be ordered more than once,
// and only an acknowledged one must be.
type Load struct {
	network *network.Network
	// prefix tells this load's messages from others.
	prefix  string
	padding string
	targets atomic.Pointer[[]*network.Node]
	stop    context.CancelFunc
	running sync.WaitGroup

	mutex        sync.Mutex
	acknowledged map[string]bool
	// tried also holds what was never acknowledged.
	tried map[string]bool
	// refused counts the answers that no retry helps against.
	refused map[string]int
	retries int
}

var loads atomic.Int64

// Start starts clients that send to these nodes; to all of the network's consenters where none is
// named. They stop at the end of the test at the latest.
func Start(t testing.TB, net *network.Network, clients int, nodes ...*network.Node) *Load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	load := &Load{
		network: net, stop: stop, prefix: fmt.Sprintf("load %d ", loads.Add(1)),
		acknowledged: map[string]bool{}, tried: map[string]bool{}, refused: map[string]int{},
	}
	if len(nodes) == 0 {
		nodes = net.Nodes[:net.Consenters]
	}
	load.Target(nodes...)
	for number := range clients {
		load.running.Go(func() { load.run(ctx, number) })
	}
	t.Cleanup(load.Stop)
	return load
}

// Pad makes every message from now on larger by that many bytes.
func (l *Load) Pad(size int) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.padding = strings.Repeat(".", size)
}

// Target changes the nodes that the clients send to.
func (l *Load) Target(nodes ...*network.Node) { l.targets.Store(&nodes) }

// Stop ends the clients and waits for them.
func (l *Load) Stop() {
	l.stop()
	l.running.Wait()
}

// Acknowledged is the number of acknowledged messages.
func (l *Load) Acknowledged() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.acknowledged)
}

// String sums up how it went.
func (l *Load) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return fmt.Sprintf("%d acknowledged, %d retries", len(l.acknowledged), l.retries)
}

// Await waits until that many more messages are acknowledged.
func (l *Load) Await(t testing.TB, more int, what string) {
	t.Helper()
	wanted := l.Acknowledged() + more
	network.Within(t, 40*time.Second, fmt.Sprintf("%d more messages are acknowledged %s", more, what), func() bool {
		return l.Acknowledged() >= wanted
	}, l.String)
}

// connection is a client's open stream to one node.
type connection struct {
	client *client.Client
	stream *client.BroadcastStream
}

func (c *connection) close() {
	if c != nil {
		c.stream.Close()
		c.client.Close()
	}
}

func (l *Load) run(ctx context.Context, number int) {
	var open *connection
	defer func() { open.close() }()
	at := number
	for sequence := 0; ctx.Err() == nil; sequence++ {
		l.mutex.Lock()
		text := fmt.Sprintf("%smessage %d of client %d%s", l.prefix, sequence, number, l.padding)
		l.tried[text] = true
		l.mutex.Unlock()
		for ctx.Err() == nil {
			if open == nil {
				open = l.open(ctx, at)
			}
			if open != nil {
				response, err := l.send(open, text)
				if err == nil && response == "" {
					pause(ctx, Pace)
					break
				}
				if err != nil && ctx.Err() == nil {
					l.count(err.Error(), true)
				} else if err == nil {
					l.count(response, false)
				}
				open.close()
				open = nil
			}
			at++
			pause(ctx, time.Duration(20+rand.IntN(80))*time.Millisecond)
		}
	}
}

func (l *Load) open(ctx context.Context, at int) *connection {
	targets := *l.targets.Load()
	node := targets[at%len(targets)]
	made, err := node.Client(l.network.Application)
	if err != nil {
		return nil
	}
	stream, err := made.OpenBroadcast(ctx)
	if err != nil {
		made.Close()
		l.count(err.Error(), true)
		return nil
	}
	return &connection{made, stream}
}

// send gives back why the message was refused; an error is something that a retry may help against.
func (l *Load) send(open *connection, text string) (string, error) {
	envelope, err := client.Message(l.network.Channel, text, l.network.Application.Client)
	if err != nil {
		return "", err
	}
	timer := time.AfterFunc(Patience, open.stream.Close)
	defer timer.Stop()
	response, err := open.stream.Send(envelope)
	if err != nil {
		return "", err
	}
	switch {
	case response.Status == common.Status_SUCCESS:
		l.mutex.Lock()
		l.acknowledged[text] = true
		l.mutex.Unlock()
		return "", nil
	case response.Status == common.Status_SERVICE_UNAVAILABLE,
		// A node that becomes or ceases to be a consenter.
		response.Info == "channel does not exist":
		return "", fmt.Errorf("%s %s", response.Status, response.Info)
	default:
		return fmt.Sprintf("%s %s", response.Status, response.Info), nil
	}
}

func (l *Load) count(reason string, retriable bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.retries++
	if !retriable {
		l.refused[reason]++
	}
}

func pause(ctx context.Context, duration time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
}

// Check stops the load and compares it with the chain: all nodes have the same verified blocks,
// every acknowledged message is in them, and nothing is that no client has sent.
func (l *Load) Check(t testing.TB, nodes ...*network.Node) *verify.Chain {
	t.Helper()
	l.Stop()
	if len(nodes) == 0 {
		nodes = l.network.Running()
	}
	chain := l.network.EqualChains(t, nodes...)
	ordered := map[string]int{}
	l.network.Chain(t, nodes[0], func(block *common.Block) {
		for _, envelope := range block.Data.Data {
			header, payload, err := client.Parse(envelope)
			if err == nil && header.Type == int32(common.HeaderType_ENDORSER_TRANSACTION) &&
				strings.HasPrefix(string(payload.Data), l.prefix) {
				ordered[string(payload.Data)]++
			}
		}
	})
	l.mutex.Lock()
	defer l.mutex.Unlock()
	lost := 0
	for text := range l.acknowledged {
		if ordered[text] == 0 {
			if lost++; lost <= 5 {
				t.Errorf("acknowledged but not in the chain: %.80s", text)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged messages are lost", lost, len(l.acknowledged))
	}
	if len(l.acknowledged) == 0 {
		t.Error("no message was acknowledged")
	}
	repeated := 0
	for text, times := range ordered {
		repeated += times - 1
		if !l.tried[text] {
			t.Errorf("in the chain, but nobody sent it: %.80q", text)
		}
	}
	for reason, times := range l.refused {
		t.Errorf("refused %d times: %s", times, reason)
	}
	t.Logf("%d blocks on %d nodes, %d messages acknowledged, %d of them lost, %d retries, %d ordered more than once",
		chain.Height, len(nodes), len(l.acknowledged), lost, l.retries, repeated)
	return chain
}
