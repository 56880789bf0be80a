// Package listeners_test has very many listeners at one peer, on the gateway SDK for Go.
package listeners_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"consilium/tests/go/network"
)

const (
	contract = "kv"
	// Transactions of each phase, one after the other.
	transactions = 10
	// More than the 100 or 200 that many servers allow.
	perConnection = 250
)

// Every listener sees every event and every block, in order and once: while it listens, and after its
// connection was lost and transactions came meanwhile. A quarter of them listen for blocks.
//
// LISTENERS says how many there are.
func TestEveryOneOfManyListenersSeesEveryEvent(t *testing.T) {
	count := 1000
	if text := os.Getenv("LISTENERS"); text != "" {
		var err error
		count, err = strconv.Atoi(text)
		network.Must(t, err)
	}
	net := network.Up(t)
	hospital := net.Organization(t, "hospital")
	allow(t, net, hospital, count+100)

	writer := net.Application(t, hospital, "User1", hospital.PeerAddress())
	channel := writer.Gateway(t, client.WithSign(writer.Sign)).GetNetwork(net.Channel)
	start := submit(t, channel, 1)[0].block + 1
	peer := node(net.PID(t, hospital.Peer()))
	before := peer.usage(t)

	all := open(t, net, hospital, count, start)
	sent := submit(t, channel, transactions)
	all.wait(t, sent)
	listening := peer.usage(t)
	report := func(what string, since usage, spent time.Duration, reached []time.Duration) {
		now := peer.usage(t)
		line := fmt.Sprintf("%s: %.1f s, %.1f s of the peer's CPU", what, spent.Seconds(), now.cpu-since.cpu)
		if len(reached) > 0 {
			line += fmt.Sprintf("; the last listener knew %d to %d ms after the writer",
				slices.Min(reached).Milliseconds(), slices.Max(reached).Milliseconds())
		}
		t.Log(line)
	}
	t.Logf("%d listeners over %d connections: %.1f KiB of the peer's memory each (%.0f MiB before, %.0f MiB now)",
		count, len(all.connections), (listening.resident-before.resident)/float64(count)/1024,
		before.resident/(1<<20), listening.resident/(1<<20))

	began := time.Now()
	sent = append(sent, submit(t, channel, transactions)...)
	spent := all.wait(t, sent)
	report("ten transactions, one after the other, each in a block",
		listening, time.Since(began), spent[transactions:])

	all.close()
	sent = append(sent, submit(t, channel, transactions)...)
	since, began := peer.usage(t), time.Now()
	all.reopen(t, net, hospital)
	all.wait(t, sent)
	report("all come back, ten blocks behind", since, time.Since(began), nil)
	all.close()
	all.compare(t, sent)
}

// Lets the peer have that many streams of each kind, and restarts it.
func allow(t *testing.T, net *network.Network, at network.Organization, streams int) {
	t.Helper()
	file := filepath.Join(net.Dir, "organizations", at.Domain, "peers", at.Peer(), "core.yaml")
	text, err := os.ReadFile(file)
	network.Must(t, err)
	limits := fmt.Sprintf("peer:\n  limits:\n    concurrency: {gatewayService: %d, deliverService: %d}\n", streams, streams)
	network.Must(t, os.WriteFile(file, []byte(strings.Replace(string(text), "peer:\n", limits, 1)), 0o600))
	net.Kill(t, at.Peer())
	net.Revive(t)
}

// A committed transaction: its event, and when the writer knew of it.
type committed struct {
	id    string
	block uint64
	at    time.Time
}

func submit(t *testing.T, channel *client.Network, count int) []committed {
	t.Helper()
	var sent []committed
	for range count {
		_, commit, err := channel.GetContract(contract).SubmitAsync("put", client.WithArguments("listened", "x", "Put"))
		network.Must(t, err)
		found, err := commit.Status()
		network.Must(t, err)
		if found.Code != peer.TxValidationCode_VALID {
			t.Fatalf("%s is %s", found.TransactionID, found.Code)
		}
		sent = append(sent, committed{found.TransactionID, found.BlockNumber, time.Now()})
	}
	return sent
}

// Crowd is all listeners and their connections.
type crowd struct {
	channel     string
	one         []*listener
	connections []*network.Application
	stop        context.CancelFunc
	running     sync.WaitGroup
}

type listener struct {
	blocks     bool
	checkpoint client.InMemoryCheckpointer
	start      uint64
	// Events' transactions, or blocks' numbers; and when each came.
	lock  sync.Mutex
	seen  []string
	times []time.Time
}

func open(t *testing.T, net *network.Network, at network.Organization, count int, start uint64) *crowd {
	t.Helper()
	all := &crowd{channel: net.Channel, stop: func() {}}
	for number := range count {
		all.one = append(all.one, &listener{blocks: number%4 == 3, start: start})
	}
	all.reopen(t, net, at)
	return all
}

// Opens a stream for everybody, over new connections.
func (c *crowd) reopen(t *testing.T, net *network.Network, at network.Organization) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	t.Cleanup(stop)
	c.connections = nil
	var failed atomic.Int64
	var opening sync.WaitGroup
	for first := 0; first < len(c.one); first += perConnection {
		app := net.Application(t, at, "User1", at.PeerAddress())
		c.connections = append(c.connections, app)
		gateway := app.Gateway(t, client.WithSign(app.Sign)).GetNetwork(c.channel)
		for _, one := range c.one[first:min(first+perConnection, len(c.one))] {
			opening.Add(1)
			c.running.Add(1)
			go func() {
				defer c.running.Done()
				listen, err := one.open(ctx, gateway)
				opening.Done()
				if err != nil {
					failed.Add(1)
					return
				}
				listen()
			}()
		}
	}
	opening.Wait()
	if failed.Load() > 0 {
		t.Fatalf("%d streams were refused", failed.Load())
	}
}

// Opens the stream, and gives what reads it to its end.
func (l *listener) open(ctx context.Context, at *client.Network) (func(), error) {
	if l.blocks {
		blocks, err := at.FilteredBlockEvents(ctx, client.WithStartBlock(l.start), client.WithCheckpoint(&l.checkpoint))
		return func() {
			for block := range blocks {
				l.note(fmt.Sprint(block.GetNumber()))
				l.checkpoint.CheckpointBlock(block.GetNumber())
			}
		}, err
	}
	events, err := at.ChaincodeEvents(ctx, contract, client.WithStartBlock(l.start), client.WithCheckpoint(&l.checkpoint))
	return func() {
		for event := range events {
			l.note(event.TransactionID)
			l.checkpoint.CheckpointChaincodeEvent(event)
		}
	}, err
}

func (l *listener) note(what string) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.seen, l.times = append(l.seen, what), append(l.times, time.Now())
}

// Waits until everybody has seen as much as was sent, and gives for each how long after the writer
// the last one knew of it.
func (c *crowd) wait(t *testing.T, sent []committed) []time.Duration {
	t.Helper()
	network.Eventually(t, "everybody has seen everything", func() error {
		late := 0
		for _, one := range c.one {
			if one.count() < len(sent) {
				late++
			}
		}
		if late > 0 {
			return fmt.Errorf("%d of %d listeners have not", late, len(c.one))
		}
		return nil
	})
	reached := make([]time.Duration, len(sent))
	for _, one := range c.one {
		one.lock.Lock()
		for at, transaction := range sent {
			reached[at] = max(reached[at], one.times[at].Sub(transaction.at))
		}
		one.lock.Unlock()
	}
	return reached
}

func (l *listener) count() int {
	l.lock.Lock()
	defer l.lock.Unlock()
	return len(l.seen)
}

func (c *crowd) close() {
	c.stop()
	for _, connection := range c.connections {
		connection.Connection.Close()
	}
	c.running.Wait()
}

func (c *crowd) compare(t *testing.T, sent []committed) {
	t.Helper()
	var events, blocks []string
	for _, transaction := range sent {
		events = append(events, transaction.id)
		blocks = append(blocks, fmt.Sprint(transaction.block))
	}
	wrong := 0
	for _, one := range c.one {
		wanted := events
		if one.blocks {
			wanted = blocks
		}
		if strings.Join(one.seen, " ") != strings.Join(wanted, " ") {
			if wrong++; wrong == 1 {
				t.Errorf("one of them has seen %v, not %v", one.seen, wanted)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d listeners have seen something else", wrong, len(c.one))
	}
}

// A process of the network, by its number.
type node int

type usage struct{ cpu, resident float64 }

// CPU in seconds and resident memory in bytes, from proc(5).
func (n node) usage(t *testing.T) usage {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n))
	network.Must(t, err)
	fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+2:]))
	number := func(at int) float64 {
		value, err := strconv.ParseFloat(fields[at], 64)
		network.Must(t, err)
		return value
	}
	// The unit of time is 1/100 s, that of memory a page.
	return usage{cpu: (number(11) + number(12)) / 100, resident: number(21) * float64(os.Getpagesize())}
}
