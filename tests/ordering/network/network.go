// Package network runs an ordering service on this machine: it makes the organizations, the
// genesis block and the nodes' files in a temporary folder, starts the real processes, and takes
// everything away at the end of the test.
package network

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	"github.com/hyperledger/fabric-config/configtx/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/verify"
)

// Options of a network. Zero values mean the default in the comment.
type Options struct {
	// Channel is the name of the channel: "records".
	Channel string
	// Consenters is how many nodes the genesis block lists: 3.
	Consenters int
	// Spares are further nodes, which no config block lists yet.
	Spares int
	// WithPeers says that the channel has a second application organization, and that both run a peer.
	WithPeers bool
	// MaxMessageCount per block: 10.
	MaxMessageCount uint32
	// AbsoluteMaxBytes of a message: 1 MiB.
	AbsoluteMaxBytes uint32
	// PreferredMaxBytes of a block: 512 KiB.
	PreferredMaxBytes uint32
	// BatchTimeout until a block that is not full is cut: 100 ms.
	BatchTimeout time.Duration
	// SnapshotIntervalSize after which the log is compacted: 16 MiB.
	SnapshotIntervalSize uint32
	// Host gives the address of a node: 127.0.0.1.
	Host func(node int) string
	// Launcher is put before a node's command line.
	Launcher func(node int) []string
}

// Network is a running ordering service.
type Network struct {
	Options
	// Orderers are the organizations that run nodes: node i belongs to organization i modulo 3.
	Orderers []*Organization
	// Application is an organization of the channel that runs none.
	Application *Organization
	// Nodes are the consenters first, then the spares. None runs yet.
	Nodes []*Node
	// Peers are one of Application and one of another such organization, where there are any.
	Peers []*Peer
	// Genesis is the channel's first block, made by fabric-config.
	Genesis *common.Block

	folder string
}

// Binary is the program under test.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("CONSILIUM")
	if path == "" {
		t.Fatal("set CONSILIUM to the path of the consilium program, for example " +
			"CONSILIUM=$PWD/../../target/debug/consilium")
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		t.Fatalf("CONSILIUM=%s is not a program; build it with cargo build", path)
	}
	path, err := filepath.Abs(path)
	must(t, err)
	return path
}

// New makes a network whose nodes are not started.
func New(t testing.TB, options Options) *Network {
	t.Helper()
	binary := Binary(t)
	fill(&options)
	network := &Network{Options: options, folder: t.TempDir()}
	for _, name := range []string{"north", "south", "west"}[:min(3, options.Consenters)] {
		network.Orderers = append(network.Orderers, NewOrganization(t, name))
	}
	network.Application = NewOrganization(t, "clinic")
	// Registered before the nodes' end, so it runs after: their logs are complete then.
	t.Cleanup(func() { network.report(t) })
	for index := range options.Consenters + options.Spares {
		organization := network.Orderers[index%len(network.Orderers)]
		name := fmt.Sprintf("orderer%d", index+1)
		folder := filepath.Join(network.folder, name)
		node := &Node{
			process: process{
				Name: name, Launcher: options.Launcher(index), folder: folder,
				line:    []string{binary, "orderer", "start", "--config", filepath.Join(folder, "orderer.yaml")},
				serving: "Beginning to serve requests",
			},
			Organization: organization,
			Host:         options.Host(index),
		}
		node.Port, node.AdminPort, node.MetricsPort = freePort(t), freePort(t), freePort(t)
		node.TLS = node.NewTLS(t)
		node.prepare(t)
		t.Cleanup(node.Kill)
		network.Nodes = append(network.Nodes, node)
	}
	if options.WithPeers {
		for _, organization := range []*Organization{network.Application, NewOrganization(t, "laboratory")} {
			network.Peers = append(network.Peers, network.newPeer(t, binary, organization))
		}
	}
	network.Genesis = network.NewGenesis(t, options.Channel)
	return network
}

// Start makes a network, starts all its nodes, and joins the consenters to the channel, and the peers
// if there are any.
func Start(t testing.TB, options Options) *Network {
	t.Helper()
	network := New(t, options)
	network.StartAll(t)
	for _, node := range network.Nodes[:network.Consenters] {
		node.Join(t, network.Genesis)
	}
	network.Leader(t)
	if options.WithPeers {
		network.startPeers(t)
	}
	return network
}

// StartAll starts those nodes that do not run.
func (n *Network) StartAll(t testing.TB) {
	t.Helper()
	failures := make(chan error, len(n.Nodes))
	for _, node := range n.Nodes {
		go func() {
			if node.Running() {
				failures <- nil
				return
			}
			failures <- node.TryStart()
		}()
	}
	for range n.Nodes {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func fill(options *Options) {
	if options.Channel == "" {
		options.Channel = "records"
	}
	if options.Consenters == 0 {
		options.Consenters = 3
	}
	if options.MaxMessageCount == 0 {
		options.MaxMessageCount = 10
	}
	if options.AbsoluteMaxBytes == 0 {
		options.AbsoluteMaxBytes = 1 << 20
	}
	if options.PreferredMaxBytes == 0 {
		options.PreferredMaxBytes = 512 << 10
	}
	if options.BatchTimeout == 0 {
		options.BatchTimeout = 100 * time.Millisecond
	}
	if options.SnapshotIntervalSize == 0 {
		options.SnapshotIntervalSize = 16 << 20
	}
	if options.Host == nil {
		options.Host = func(int) string { return "127.0.0.1" }
	}
	if options.Launcher == nil {
		options.Launcher = func(int) []string { return nil }
	}
}

// NewGenesis makes the first block of a channel with this network's members.
func (n *Network) NewGenesis(t testing.TB, channel string) *common.Block {
	t.Helper()
	block, err := configtx.NewApplicationChannelGenesisBlock(n.profile(), channel)
	must(t, err)
	return block
}

func (n *Network) profile() configtx.Channel {
	meta := func(rule string) configtx.Policy {
		return configtx.Policy{Type: configtx.ImplicitMetaPolicyType, Rule: rule}
	}
	policies := func() map[string]configtx.Policy {
		return map[string]configtx.Policy{
			configtx.ReadersPolicyKey: meta("ANY Readers"),
			configtx.WritersPolicyKey: meta("ANY Writers"),
			configtx.AdminsPolicyKey:  meta("MAJORITY Admins"),
		}
	}
	ordering, application := policies(), policies()
	ordering[configtx.BlockValidationPolicyKey] = meta("ANY Writers")
	application[configtx.EndorsementPolicyKey] = meta("MAJORITY Endorsement")
	application[configtx.LifecycleEndorsementPolicyKey] = meta("MAJORITY Endorsement")

	var organizations []configtx.Organization
	for _, member := range n.Orderers {
		organization := member.Config()
		for _, node := range n.Nodes[:n.Consenters] {
			if node.Organization == member {
				organization.OrdererEndpoints = append(organization.OrdererEndpoints, node.Address())
			}
		}
		organizations = append(organizations, organization)
	}
	members := []configtx.Organization{n.Application.Config()}
	if len(n.Peers) > 0 {
		members = nil
	}
	for _, peer := range n.Peers {
		members = append(members, peer.Organization.Config())
	}
	var consenters []orderer.Consenter
	for _, node := range n.Nodes[:n.Consenters] {
		consenters = append(consenters, node.Consenter())
	}
	return configtx.Channel{
		Capabilities: []string{"V2_0"},
		Policies:     policies(),
		Application: configtx.Application{
			Organizations: members,
			Capabilities:  []string{"V2_5"},
			Policies:      application,
		},
		Orderer: configtx.Orderer{
			OrdererType:  orderer.ConsensusTypeEtcdRaft,
			BatchTimeout: n.BatchTimeout,
			BatchSize: orderer.BatchSize{
				MaxMessageCount:   n.MaxMessageCount,
				AbsoluteMaxBytes:  n.AbsoluteMaxBytes,
				PreferredMaxBytes: n.PreferredMaxBytes,
			},
			EtcdRaft: orderer.EtcdRaft{
				Consenters: consenters,
				Options: orderer.EtcdRaftOptions{
					TickInterval:         "100ms",
					ElectionTick:         10,
					HeartbeatTick:        1,
					MaxInflightBlocks:    5,
					SnapshotIntervalSize: n.SnapshotIntervalSize,
				},
			},
			Organizations: organizations,
			Capabilities:  []string{"V2_0"},
			Policies:      ordering,
			State:         orderer.ConsensusStateNormal,
		},
	}
}

// Running are the nodes whose processes are there.
func (n *Network) Running() []*Node {
	var running []*Node
	for _, node := range n.Nodes {
		if node.Running() {
			running = append(running, node)
		}
	}
	return running
}

// TryLeader is the node that leads the channel at the moment, if one does.
func (n *Network) TryLeader() *Node {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, node := range n.Nodes {
		if node.Leads(ctx, n.Channel) {
			return node
		}
	}
	return nil
}

// Leader waits for a leader.
func (n *Network) Leader(t testing.TB) *Node {
	t.Helper()
	var leader *Node
	Within(t, 20*time.Second, "a node leads the channel", func() bool {
		leader = n.TryLeader()
		return leader != nil
	})
	return leader
}

// Follower is a running consenter that does not lead.
func (n *Network) Follower(t testing.TB) *Node {
	t.Helper()
	leader := n.Leader(t)
	for _, node := range n.Nodes[:n.Consenters] {
		if node != leader && node.Running() {
			return node
		}
	}
	t.Fatal("only the leader runs")
	return nil
}

// Send broadcasts one message through a node, and fails the test unless it is taken.
func (n *Network) Send(t testing.TB, through *Node, text string) {
	t.Helper()
	envelope, err := client.Message(n.Channel, text, n.Application.Client)
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	response, err := through.Dial(t, n.Application).Broadcast(ctx, envelope)
	must(t, err)
	if response.Status != common.Status_SUCCESS {
		t.Fatalf("%s answers %s %q", through.Name, response.Status, response.Info)
	}
}

// SendSoon is Send for a node that changes its part at the moment, or has no leader yet.
func (n *Network) SendSoon(t testing.TB, through *Node, text string) {
	t.Helper()
	envelope, err := client.Message(n.Channel, text, n.Application.Client)
	must(t, err)
	caller, last := through.Dial(t, n.Application), ""
	Within(t, 20*time.Second, through.Name+" takes a message", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		response, err := caller.Broadcast(ctx, envelope)
		last = fmt.Sprint(response, err)
		return err == nil && response.Status == common.Status_SUCCESS
	}, func() string { return last })
}

// Chain reads all blocks of a node and verifies every one of them.
func (n *Network) Chain(t testing.TB, node *Node, each ...func(*common.Block)) *verify.Chain {
	t.Helper()
	chain, err := verify.New(n.Genesis)
	must(t, err)
	reader := node.Dial(t, n.Application)
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	first, err := reader.Blocks(ctx, n.Channel, client.At(0), client.At(0), n.Application.Client)
	if err != nil {
		t.Fatalf("%s: block 0: %v", node.Name, err)
	}
	started, err := verify.New(first[0])
	must(t, err)
	if string(started.Hashes[0]) != string(chain.Hashes[0]) {
		t.Fatalf("%s starts with another genesis block", node.Name)
	}
	newest, err := reader.Blocks(ctx, n.Channel, client.Newest, client.Newest, n.Application.Client)
	if err != nil {
		t.Fatalf("%s: newest block: %v", node.Name, err)
	}
	height := newest[0].Header.Number + 1
	if height == 1 {
		return chain
	}
	seek := client.Range(1, height-1)
	err = reader.Deliver(ctx, n.Channel, seek, n.Application.Client, func(block *common.Block) error {
		for _, visit := range each {
			visit(block)
		}
		return chain.Add(block)
	})
	if err != nil {
		t.Fatalf("chain of %s: %v", node.Name, err)
	}
	if chain.Height != height {
		t.Fatalf("%s delivered %d blocks of %d", node.Name, chain.Height, height)
	}
	return chain
}

// EqualChains waits until the running nodes have the same height, verifies every block of each, and
// compares the header hashes. It gives back one of the chains.
func (n *Network) EqualChains(t testing.TB, nodes ...*Node) *verify.Chain {
	t.Helper()
	if len(nodes) == 0 {
		nodes = n.Running()
	}
	var first *verify.Chain
	var heights []uint64
	Within(t, 40*time.Second, "all nodes have the same blocks", func() bool {
		heights = heights[:0]
		for _, node := range nodes {
			info, err := node.Info(n.Channel)
			if err != nil {
				return false
			}
			heights = append(heights, info.Height)
		}
		if slices.Min(heights) != slices.Max(heights) {
			return false
		}
		first = n.Chain(t, nodes[0])
		for _, node := range nodes[1:] {
			chain := n.Chain(t, node)
			for number := range min(chain.Height, first.Height) {
				if !bytes.Equal(chain.Hashes[number], first.Hashes[number]) {
					t.Fatalf("block %d of %s is %x, of %s %x", number,
						node.Name, chain.Hashes[number], nodes[0].Name, first.Hashes[number])
				}
			}
			if chain.Height != first.Height {
				// Another block came meanwhile.
				return false
			}
		}
		return true
	}, func() string { return fmt.Sprintf("heights %v", heights) })
	return first
}

// report fails the test if a node has panicked, and prints the nodes' last words when it has failed.
func (n *Network) report(t testing.TB) {
	processes := map[string]*process{}
	for _, node := range n.Nodes {
		processes[node.Address()] = &node.process
	}
	for _, peer := range n.Peers {
		processes[peer.Address()] = &peer.process
	}
	for _, process := range processes {
		if panics := process.Panics(); panics != "" {
			t.Errorf("%s has panicked:\n%s", process.Name, indent(panics))
		}
	}
	if !t.Failed() {
		return
	}
	for address, process := range processes {
		t.Logf("--- the end of the log of %s (%s)\n%s", process.Name, address, indent(process.LogTail(25)))
	}
}

func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }

var taken = map[int]bool{}

// freePort finds a port below those that the system gives to outgoing connections, so that a node
// can come back to its port after it was away.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 18000 + rand.IntN(14000)
		if taken[port] {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = listener.Close()
		taken[port] = true
		return port
	}
	t.Fatal("no free port")
	return 0
}
