package changing

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"consilium/tests/go/network"
)

// An application that is a process of its own: it prints what it sees, or what it has had committed,
// a line each, and ends in order at SIGTERM.
type program struct {
	name    string
	blocks  bool
	command func() *exec.Cmd

	lock    sync.Mutex
	notes   []string
	running *exec.Cmd
	// How many notes there were when it started.
	before int
	read   chan error
	said   strings.Builder
}

func (p *program) who() string        { return p.name }
func (p *program) of() (bool, uint64) { return p.blocks, 0 }

func (p *program) run(t testing.TB) {
	t.Helper()
	p.running, p.before = p.command(), len(p.seen())
	p.running.Stderr = &p.said
	out, err := p.running.StdoutPipe()
	network.Must(t, err)
	network.Must(t, p.running.Start())
	p.read = make(chan error, 1)
	go func() { p.read <- p.note(out) }()
}

func (p *program) note(out io.Reader) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		p.lock.Lock()
		p.notes = append(p.notes, lines.Text())
		p.lock.Unlock()
	}
	return lines.Err()
}

func (p *program) seen() []string {
	p.lock.Lock()
	defer p.lock.Unlock()
	return append([]string(nil), p.notes...)
}

func (p *program) interrupt(t testing.TB) {
	t.Helper()
	p.stop(t)
	p.run(t)
}

func (p *program) stop(t testing.TB) {
	t.Helper()
	if p.running == nil {
		return
	}
	_ = p.running.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(time.Minute, func() { _ = p.running.Process.Kill() })
	defer late.Stop()
	if err := errors.Join(<-p.read, p.running.Wait()); err != nil && !p.endedEarly() {
		t.Errorf("%s: %v\n%s", p.name, err, p.said.String())
	}
	p.running = nil
}

// Whether the signal came before the program was ready to hear it, and so before it did anything.
func (p *program) endedEarly() bool {
	const terminated = 128 + int(syscall.SIGTERM)
	status, known := p.running.ProcessState.Sys().(syscall.WaitStatus)
	ended := known && (status.Signal() == syscall.SIGTERM || status.ExitStatus() == terminated)
	return ended && len(p.seen()) == p.before
}

// Starts a part of the application on the SDK for Node: `events`, `blocks` or `write`.
func (s *story) inNode(t testing.TB, part string) *program {
	t.Helper()
	return start(t, &program{name: "Node, " + part, blocks: part == "blocks"}, func(checkpoint string) *exec.Cmd {
		command := exec.Command("node", "../../node/application/main.mjs", part, contractName, checkpoint)
		command.Env = append(os.Environ(), "NETWORK_DIR="+s.net.Dir)
		return command
	})
}

// The same on the SDK for Java, `events` or `write`: an application of the regulator.
func (s *story) inJava(t testing.TB, part string) *program {
	t.Helper()
	classes, own := network.JavaApplication(t), s.net.Organization(t, "regulator")
	// Short programs start sooner with the first compiler alone.
	args := []string{"-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", classes, "Changing", part, contractName}
	places := []string{s.net.Channel, own.MSPID, s.net.User(own, "User1"), own.PeerAddress(), s.net.TLSRoot(own)}
	for _, other := range s.net.Organizations {
		if other.Name != own.Name {
			places = append(places, other.PeerAddress(), s.net.TLSRoot(other))
		}
	}
	return start(t, &program{name: "Java, " + part}, func(checkpoint string) *exec.Cmd {
		return exec.Command("java", slices.Concat(args, []string{checkpoint}, places)...)
	})
}

func start(t testing.TB, made *program, command func(checkpoint string) *exec.Cmd) *program {
	t.Helper()
	checkpoint := filepath.Join(t.TempDir(), "checkpoint")
	made.command = func() *exec.Cmd { return command(checkpoint) }
	made.run(t)
	t.Cleanup(func() {
		if made.running != nil {
			_ = made.running.Process.Kill()
		}
	})
	return made
}

// The contract as a service: one of tests/contracts, on Fabric's shim for Go.
type service struct {
	*network.Process
	binary, id string
	port       int
}

func buildContract(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "everything")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./everything")
	build.Dir = "../../contracts/go"
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the contract: %v\n%s", err, said)
	}
	return binary
}

func (s *service) start(t testing.TB) {
	t.Helper()
	environment := append(os.Environ(), "CHAINCODE_ID="+s.id, fmt.Sprintf("CHAINCODE_SERVER_ADDRESS=127.0.0.1:%d", s.port))
	s.Process = network.Start(t, filepath.Join(t.TempDir(), "log"), environment, s.binary)
}
