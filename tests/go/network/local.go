package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Up starts a network for one test, whose nodes may be killed and whose members may change, and
// removes it at the end.
func Up(t testing.TB) *Network {
	t.Helper()
	if os.Getenv("CONSILIUM") == "" || programs == "" {
		t.Fatal("set CONSILIUM to the consilium program and FABRIC_BIN to the folder of Fabric's programs")
	}
	started := &Network{Dir: filepath.Join(t.TempDir(), "network")}
	t.Cleanup(func() {
		if t.Failed() {
			started.lastWords(t)
		}
		if _, err := started.Consilium("network", "down", "--clean", "--dir", started.Dir); err != nil {
			t.Errorf("the network does not stop: %v", err)
		}
	})
	if _, err := started.Consilium("network", "up", "--free-ports", "--dir", started.Dir); err != nil {
		t.Fatal(err)
	}
	started.Reload(t)
	return started
}

// Reload reads what the network consists of.
func (n *Network) Reload(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.Dir, "network.json"))
	Must(t, err)
	n.Organizations = nil
	Must(t, json.Unmarshal(text, n))
}

// Consilium runs the program and gives what it printed.
func (n *Network) Consilium(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, os.Getenv("CONSILIUM"), args...)
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("consilium %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), complaints.String())
	}
	return out.String(), nil
}

var packageID = regexp.MustCompile(`package id: (\S+)`)

// Deploy puts a contract on the channel as a service at the port, and gives its package id. Options
// are further ones of `consilium network deploy`.
func (n *Network) Deploy(t testing.TB, name string, port int, policy string, options ...string) string {
	t.Helper()
	printed, err := n.Consilium(append([]string{
		"network", "deploy", "--dir", n.Dir, "--service", fmt.Sprintf("localhost:%d", port), "--policy", policy, name,
	}, options...)...)
	Must(t, err)
	return packageID.FindStringSubmatch(printed)[1]
}

// Peer is the name of the organization's peer, and Orderer that of its orderer.
func (o Organization) Peer() string    { return "peer0." + o.Domain }
func (o Organization) Orderer() string { return "orderer0." + o.Domain }

// PeerAddress is where the organization's peer listens.
func (o Organization) PeerAddress() string { return fmt.Sprintf("localhost:%d", o.Ports.Peer) }

// PID is the number of a node's process; nodes are called like peer0.hospital.example.
func (n *Network) PID(t testing.TB, node string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.Dir, "run", node+".pid"))
	Must(t, err)
	var pid int
	_, err = fmt.Sscan(string(text), &pid)
	Must(t, err)
	return pid
}

// Kill ends a node's process with SIGKILL and waits until it is gone.
func (n *Network) Kill(t testing.TB, node string) {
	t.Helper()
	pid := n.PID(t, node)
	Must(t, syscall.Kill(pid, syscall.SIGKILL))
	Eventually(t, node+" is gone", func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || err == nil && bytes.Contains(stat, []byte(") Z ")) {
			return nil
		}
		return errors.Join(err, errors.New("it still runs"))
	})
}

// Revive starts the nodes that do not run.
func (n *Network) Revive(t testing.TB) {
	t.Helper()
	_, err := n.Consilium("network", "up", "--dir", n.Dir)
	Must(t, err)
}

// Leader is the organization whose orderer leads the channel.
func (n *Network) Leader(t testing.TB) Organization {
	t.Helper()
	var leader Organization
	Eventually(t, "an orderer leads", func() error {
		for _, member := range n.Organizations {
			if n.ordererLeads(member) {
				leader = member
				return nil
			}
		}
		return errors.New("none does")
	})
	return leader
}

func (n *Network) ordererLeads(member Organization) bool {
	lines, err := metrics(member.Ports.OrdererOperations)
	if err != nil {
		return false
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "consensus_etcdraft_is_leader") &&
			strings.Contains(line, fmt.Sprintf("channel=%q", n.Channel)) && strings.HasSuffix(line, " 1") {
			return true
		}
	}
	return false
}

// What the nodes said at last.
func (n *Network) lastWords(t testing.TB) {
	logs, _ := filepath.Glob(filepath.Join(n.Dir, "logs", "*.log"))
	for _, log := range logs {
		said, _ := os.ReadFile(log)
		t.Logf("%s:\n%s", filepath.Base(log), said[max(0, len(said)-3000):])
	}
}
