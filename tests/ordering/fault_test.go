package ordering

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"consilium/tests/ordering/load"
	"consilium/tests/ordering/network"
)

// injectsFaults skips tests that take minutes, unless they were asked for by name.
func injectsFaults(t *testing.T) {
	t.Helper()
	if !strings.Contains(flag.Lookup("test.run").Value.String(), "Fault") {
		t.Skip("runs only with -run Fault")
	}
}

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%s is not a number", name, text)
	}
	return value
}

// moments draws the moments of faults; FAULT_SEED repeats them.
func moments(t *testing.T) *rand.Rand {
	t.Helper()
	seed := number(t, "FAULT_SEED", rand.IntN(1<<30))
	t.Logf("FAULT_SEED=%d", seed)
	return rand.New(rand.NewPCG(uint64(seed), 0))
}

func TestFaultTheLeaderIsKilledAgainAndAgain(t *testing.T) {
	injectsFaults(t)
	net := network.Start(t, network.Options{MaxMessageCount: 4, SnapshotIntervalSize: 64 << 10})
	work := load.Start(t, net, 4)
	killLeaders(t, net, work, number(t, "FAULT_ROUNDS", 100), moments(t))
	work.Check(t)
}

func killLeaders(t *testing.T, net *network.Network, work workload, rounds int, random *rand.Rand) {
	t.Helper()
	started := time.Now()
	for round := range rounds {
		leader := net.Leader(t)
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		leader.Kill()
		if random.IntN(2) == 0 {
			// The others elect a leader without it.
			work.Await(t, 4, "after "+leader.Name+" was killed")
			leader.Start(t)
		} else {
			// It is back before they have one.
			leader.Start(t)
			work.Await(t, 4, "after "+leader.Name+" was killed and came back")
		}
		if (round+1)%20 == 0 {
			t.Logf("%d rounds in %s: %s", round+1, time.Since(started).Round(time.Second), work)
		}
	}
}

func TestFaultAllNodesAreKilledAtOnceAgainAndAgain(t *testing.T) {
	injectsFaults(t)
	net := network.Start(t, network.Options{MaxMessageCount: 4, SnapshotIntervalSize: 64 << 10})
	work := load.Start(t, net, 4)
	killAll(t, net, work, number(t, "FAULT_ALL_ROUNDS", 20), moments(t))
	work.Check(t)
}

func killAll(t *testing.T, net *network.Network, work workload, rounds int, random *rand.Rand) {
	t.Helper()
	for range rounds {
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		var killed sync.WaitGroup
		for _, node := range net.Nodes {
			killed.Go(node.Kill)
		}
		killed.Wait()
		net.StartAll(t)
		work.Await(t, 8, "after all nodes were killed")
	}
}

func TestFaultAFullDiskStopsOneNodeAndNoOther(t *testing.T) {
	injectsFaults(t)
	if os.Geteuid() != 0 {
		t.Skip("a small file system needs root")
	}
	for name, choose := range map[string]func(*network.Network, testing.TB) *network.Node{
		"a follower's": (*network.Network).Follower, "the leader's": (*network.Network).Leader,
	} {
		t.Run(name, func(t *testing.T) {
			net := network.New(t, network.Options{SnapshotIntervalSize: 64 << 10})
			for _, node := range net.Nodes {
				mount(t, node, "192m")
			}
			net.StartAll(t)
			for _, node := range net.Nodes {
				node.Join(t, net.Genesis)
			}
			net.Leader(t)
			work := load.Start(t, net, 4)
			work.Await(t, 50, "while there is room")
			victim := choose(net, t)
			t.Logf("the disk of %s fills up", victim.Name)
			free := fill(t, victim)
			// More than what a database may have set aside.
			work.Pad(32 << 10)
			work.Await(t, 400, "while one disk is full")
			work.Pad(0)
			others := except(net.Nodes, victim)
			for _, node := range others {
				if !node.Running() {
					t.Errorf("%s ended", node.Name)
				}
			}
			// The node waits, and must not say that all is well.
			if !victim.Running() {
				t.Fatalf("the node ended: %s", victim.LogTail(5))
			}
			network.Within(t, 20*time.Second, "the node says that its channel has failed", func() bool {
				info, err := victim.Info(net.Channel)
				return err != nil || info.Status != "active"
			}, func() string { return victim.LogTail(5) })
			// It goes on by itself. What it missed needs more room than it had.
			free()
			if err := syscall.Mount("none", victim.DataFolder(), "tmpfs", syscall.MS_REMOUNT, "size=512m"); err != nil {
				t.Fatal(err)
			}
			victim.AwaitRelation(t, net.Channel, "consenter", "active")
			work.Await(t, 50, "after there is room again")
			work.Check(t)
		})
	}
}

// mount puts a small file system where a node keeps its data.
func mount(t *testing.T, node *network.Node, size string) {
	t.Helper()
	folder := node.DataFolder()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", folder, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a tmpfs cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		node.Kill()
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Errorf("%s stays mounted: %v", folder, err)
		}
	})
}

// fill takes every byte of a node's disk, and goes on taking what becomes free. What it gives back
// frees it all.
func fill(t *testing.T, node *network.Node) func() {
	t.Helper()
	path := filepath.Join(node.DataFolder(), "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	full, stop, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		chunk, once := make([]byte, 64<<10), sync.Once{}
		for {
			if _, err := file.Write(chunk); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					return
				}
				// The last bytes, and later what compactions free.
				_, _ = file.Write(chunk[:1])
				once.Do(func() { close(full) })
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}
	}()
	select {
	case <-full:
	case <-time.After(20 * time.Second):
		t.Fatal("the disk does not fill up")
	}
	return sync.OnceFunc(func() {
		close(stop)
		<-stopped
		_ = file.Close()
		_ = os.Remove(path)
	})
}

// namespaces is set in the process that runs inside of the network namespaces, to their prefix.
const namespaces = "ORDERING_NAMESPACES"

func TestFaultPacketsInOneDirectionAreDropped(t *testing.T) {
	injectsFaults(t)
	prefix := os.Getenv(namespaces)
	if prefix == "" {
		runInNamespaces(t)
		return
	}
	net := network.Start(t, apart(prefix, network.Options{SnapshotIntervalSize: 64 << 10}))
	work := load.Start(t, net, 4)
	cutOff(t, net, work, prefix, number(t, "FAULT_CUT_ROUNDS", 2), moments(t))
	work.Check(t)
}

// apart puts every node into a network namespace of its own. Peers stay where the test is.
func apart(prefix string, options network.Options) network.Options {
	options.Host = func(node int) string { return fmt.Sprintf("10.77.0.%d", 11+node) }
	options.Launcher = func(node int) []string {
		return []string{"ip", "netns", "exec", fmt.Sprintf("%s-%d", prefix, node)}
	}
	return options
}

// cutOff makes every kind of cut so many times.
func cutOff(t *testing.T, net *network.Network, work workload, prefix string, rounds int, random *rand.Rand) {
	t.Helper()
	cut := func(t *testing.T, from, to *network.Node) func() {
		t.Helper()
		space := fmt.Sprintf("%s-%d", prefix, index(net, from))
		// Frames to an address that nobody has: the packets leave, and never arrive.
		run(t, "ip", "-n", space, "neigh", "replace", to.Host, "lladdr", "02:00:de:ad:00:01", "dev", "eth0", "nud", "permanent")
		return sync.OnceFunc(func() { run(t, "ip", "-n", space, "neigh", "del", to.Host, "dev", "eth0") })
	}
	cases := []struct {
		name string
		cut  func(t *testing.T, leader *network.Node, followers []*network.Node) []func()
	}{
		{"from the leader to its followers", func(t *testing.T, leader *network.Node, followers []*network.Node) []func() {
			return []func(){cut(t, leader, followers[0]), cut(t, leader, followers[1])}
		}},
		{"from the followers to their leader", func(t *testing.T, leader *network.Node, followers []*network.Node) []func() {
			return []func(){cut(t, followers[0], leader), cut(t, followers[1], leader)}
		}},
		{"from the leader to one follower", func(t *testing.T, leader *network.Node, followers []*network.Node) []func() {
			return []func(){cut(t, leader, followers[random.IntN(2)])}
		}},
		{"between the leader and its followers, both ways", func(t *testing.T, leader *network.Node, followers []*network.Node) []func() {
			return []func(){
				cut(t, leader, followers[0]), cut(t, leader, followers[1]),
				cut(t, followers[0], leader), cut(t, followers[1], leader),
			}
		}},
	}
	for round := range rounds {
		for _, c := range cases {
			t.Run(fmt.Sprintf("%s, round %d", c.name, round+1), func(t *testing.T) {
				work.Await(t, 20, "before the cut")
				leader := net.Leader(t)
				started := time.Now()
				heals := c.cut(t, leader, except(net.Nodes, leader))
				defer func() {
					for _, heal := range heals {
						heal()
					}
				}()
				elected := firstOther(net, leader, started)
				// Past the longest silence that an election takes, and long enough that nothing
				// is left on its way.
				time.Sleep(time.Duration(1500+random.IntN(2000)) * time.Millisecond)
				work.Await(t, 20, "during the cut")
				t.Logf("20 messages were acknowledged within %s of the cut; %s", time.Since(started).Round(10*time.Millisecond), elected())
				for _, heal := range heals {
					heal()
				}
				healed := time.Now()
				work.Await(t, 20, "after the cut")
				// The next cut would find less than a majority if this one were not over.
				awaitRecovery(t, net)
				t.Logf("all nodes were level, under one leader, %s after the cut was over", time.Since(healed).Round(10*time.Millisecond))
			})
		}
	}
}

// awaitRecovery waits until one node leads and every node has what one of them has now.
func awaitRecovery(t *testing.T, net *network.Network) {
	t.Helper()
	wanted := uint64(0)
	for _, node := range net.Nodes {
		if info, err := node.Info(net.Channel); err == nil {
			wanted = max(wanted, info.Height)
		}
	}
	state := ""
	network.Within(t, 90*time.Second, fmt.Sprintf("all nodes have height %d, and one leads", wanted), func() bool {
		leaders, level := 0, true
		state = ""
		for _, node := range net.Nodes {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			leads := node.Leads(ctx, net.Channel)
			cancel()
			info, err := node.Info(net.Channel)
			state += fmt.Sprintf("%s: height %d, leads %v; ", node.Name, info.Height, leads)
			if leads {
				leaders++
			}
			level = level && err == nil && info.Height >= wanted
		}
		return leaders == 1 && level
	}, func() string { return state })
}

// firstOther watches for another leader from now on. What it gives back says when it was seen.
func firstOther(net *network.Network, leader *network.Node, since time.Time) func() string {
	seen, stop := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(seen)
		for {
			for _, node := range except(net.Nodes, leader) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				if node.Leads(ctx, net.Channel) {
					seen <- fmt.Sprintf("%s led after %s", node.Name, time.Since(since).Round(10*time.Millisecond))
				}
				cancel()
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			if len(seen) > 0 {
				return
			}
		}
	}()
	return func() string {
		close(stop)
		if text := <-seen; text != "" {
			return text
		}
		return leader.Name + " went on leading"
	}
}

func index(net *network.Network, node *network.Node) int {
	for number, other := range net.Nodes {
		if other == node {
			return number
		}
	}
	return -1
}

// runInNamespaces makes one network namespace for each node and one with a bridge between them, and
// runs this test once more inside the latter.
func runInNamespaces(t *testing.T) {
	t.Helper()
	network.Binary(t)
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip is missing: apt-get install iproute2")
	}
	sweep()
	prefix := fmt.Sprintf("ordering-%d", os.Getpid())
	hub := prefix + "-hub"
	space := func(name string) {
		t.Helper()
		if output, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("network namespaces cannot be made here: %s", output)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		run(t, "ip", "-n", name, "link", "set", "lo", "up")
	}
	space(hub)
	run(t, "ip", "-n", hub, "link", "add", "bridge", "type", "bridge")
	run(t, "ip", "-n", hub, "address", "add", "10.77.0.1/24", "dev", "bridge")
	run(t, "ip", "-n", hub, "link", "set", "bridge", "up")
	for node := range 3 {
		name, port := fmt.Sprintf("%s-%d", prefix, node), fmt.Sprintf("port%d", node)
		space(name)
		run(t, "ip", "-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
		run(t, "ip", "-n", hub, "link", "set", port, "master", "bridge", "up")
		run(t, "ip", "-n", name, "address", "add", fmt.Sprintf("10.77.0.%d/24", 11+node), "dev", "eth0")
		run(t, "ip", "-n", name, "link", "set", "eth0", "up")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	inside := exec.CommandContext(ctx, "ip", "netns", "exec", hub, os.Args[0],
		"-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "7m")
	inside.Env = append(os.Environ(), namespaces+"="+prefix)
	inside.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	inside.Stdout, inside.Stderr = os.Stdout, os.Stderr
	if err := inside.Run(); err != nil {
		t.Errorf("inside of the namespaces: %v", err)
	}
}

// sweep deletes the namespaces of test processes that were killed before they could do it.
func sweep() {
	left, _ := filepath.Glob("/run/netns/ordering-*")
	for _, path := range left {
		name := filepath.Base(path)
		pid := strings.Split(name, "-")[1]
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			_ = exec.Command("ip", "netns", "del", name).Run()
		}
	}
}

func run(t *testing.T, name string, arguments ...string) {
	t.Helper()
	if output, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(arguments, " "), err, output)
	}
}
