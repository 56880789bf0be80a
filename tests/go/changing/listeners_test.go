package changing

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"

	"consilium/tests/go/network"
)

// Listener is whoever listens for the whole test, and is interrupted again and again.
type listener interface {
	// What it is called in messages.
	who() string
	// Stops it and starts it again, as one does with a program.
	interrupt(t testing.TB)
	// Everything it has seen, in order.
	seen() []string
	// Stops it for good.
	stop(t testing.TB)
	// Whether it listens for blocks, not events, and the first block whose events it wants.
	of() (blocks bool, start uint64)
}

// One that lives in this process, on the SDK for Go.
type goListener struct {
	name   string
	blocks bool
	start  uint64
	// It listens at these in turn: at the next one after each interruption.
	places     []*client.Network
	contract   string
	checkpoint string

	lock  sync.Mutex
	notes []string
	cut   context.CancelFunc
	ended chan error
	turn  int
}

func (l *goListener) who() string        { return l.name }
func (l *goListener) of() (bool, uint64) { return l.blocks, l.start }

func (l *goListener) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended, place := make(chan error, 1), l.places[l.turn%len(l.places)]
	l.cut, l.ended, l.turn = cancel, ended, l.turn+1
	go func() { ended <- l.listen(ctx, place) }()
}

// Takes the checkpoint up again from its file, as after a restart.
func (l *goListener) listen(ctx context.Context, place *client.Network) error {
	checkpoint, err := client.NewFileCheckpointer(l.checkpoint)
	if err != nil {
		return err
	}
	if l.blocks {
		err = Blocks(ctx, place, checkpoint, func(block *common.Block) { l.note(noteBlock(block)) })
	} else {
		err = Events(ctx, place, l.contract, l.start, checkpoint, func(event *client.ChaincodeEvent) {
			l.note(fmt.Sprintf("%d %s %s", event.BlockNumber, event.TransactionID, event.Payload))
		})
	}
	return errors.Join(err, checkpoint.Close())
}

func (l *goListener) note(what string) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.notes = append(l.notes, what)
}

func (l *goListener) seen() []string {
	l.lock.Lock()
	defer l.lock.Unlock()
	return append([]string(nil), l.notes...)
}

func (l *goListener) interrupt(t testing.TB) {
	t.Helper()
	l.stop(t)
	l.run()
}

func (l *goListener) stop(t testing.TB) {
	t.Helper()
	l.cut()
	if err := <-l.ended; err != nil {
		t.Errorf("%s: %v", l.name, err)
	}
}

func noteBlock(block *common.Block) string {
	return fmt.Sprintf("%d %x", block.GetHeader().GetNumber(), block.GetHeader().GetDataHash())
}

// Listen starts listeners on the SDK for Go: for events and for blocks.
func (s *story) listenAt(t testing.TB, name string, start uint64, places ...network.Organization) {
	t.Helper()
	var networks []*client.Network
	for _, place := range places {
		networks = append(networks, s.gateway(t, place).GetNetwork(s.net.Channel))
	}
	for _, blocks := range []bool{false, true} {
		made := &goListener{
			name: name, blocks: blocks, start: start, places: networks, contract: contractName,
			checkpoint: filepath.Join(t.TempDir(), "checkpoint"),
		}
		if blocks {
			made.name += ", blocks"
		}
		made.run()
		s.listeners = append(s.listeners, made)
	}
}
