package network

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startDeadline = 30 * time.Second
	stopDeadline  = 20 * time.Second
)

// process is a process of the program under test, with its folder and its log.
type process struct {
	Name string
	// Launcher is put before the command line, to run the process in a network namespace.
	Launcher []string

	folder string
	// line is the command line.
	line []string
	// serving is what it logs once it can be called.
	serving string
	command *exec.Cmd
	exited  chan struct{}
}

// Start starts the process and waits until it serves.
func (p *process) Start(t testing.TB) {
	t.Helper()
	if err := p.TryStart(); err != nil {
		t.Fatal(err)
	}
}

// TryStart is Start for nodes that may not come up.
func (p *process) TryStart() error {
	if p.Running() {
		return fmt.Errorf("%s runs already", p.Name)
	}
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	line := append(append([]string{}, p.Launcher...), p.line...)
	command := exec.Command(line[0], line[1:]...)
	command.Stdout, command.Stderr = log, log
	command.Env = append([]string{"FABRIC_LOGGING_SPEC=openraft=error:info"}, os.Environ()...)
	command.Env = append(command.Env, "RUST_BACKTRACE=0")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(exited)
	}()
	p.command, p.exited = command, exited
	deadline := time.After(startDeadline)
	for {
		if written, err := p.logFrom(from); err == nil && bytes.Contains(written, []byte(p.serving)) {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("%s ended while it started:\n%s", p.Name, p.LogTail(20))
		case <-deadline:
			return fmt.Errorf("%s does not serve after %s:\n%s", p.Name, startDeadline, p.LogTail(20))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Running says whether the process is there.
func (p *process) Running() bool {
	if p.command == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *process) Kill() { p.end(syscall.SIGKILL) }

// Stop asks the process to end, and kills it when it does not.
func (p *process) Stop(t testing.TB) {
	t.Helper()
	if !p.Running() {
		return
	}
	if !p.end(syscall.SIGTERM) {
		t.Errorf("%s did not stop in %s after SIGTERM", p.Name, stopDeadline)
		p.Kill()
	}
}

func (p *process) end(signal syscall.Signal) bool {
	if !p.Running() {
		return true
	}
	// The group: a launcher may be the parent.
	_ = syscall.Kill(-p.command.Process.Pid, signal)
	select {
	case <-p.exited:
		return true
	case <-time.After(stopDeadline):
		return false
	}
}

func (p *process) logFile() string { return filepath.Join(p.folder, "node.log") }

func (p *process) logFrom(offset int64) ([]byte, error) {
	file, err := os.Open(p.logFile())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// LogTail is the end of what the node has logged.
func (p *process) LogTail(lines int) string {
	text, err := p.logFrom(0)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// Panics are the lines in which the node has logged a panic, each with what it says.
func (p *process) Panics() string {
	text, err := p.logFrom(0)
	if err != nil {
		return ""
	}
	var found []string
	lines := strings.Split(string(text), "\n")
	for number, line := range lines {
		if strings.Contains(line, "panicked at") {
			found = append(found, lines[number:min(number+3, len(lines))]...)
		}
	}
	return strings.Join(found, "\n")
}
