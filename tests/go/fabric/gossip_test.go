package fabric_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"consilium/tests/go/network"
)

// Blocks go from peer to peer: one of Fabric and one of ours in an organization whose first peer is ours,
// where either is the one that reaches the ordering service, or they elect it.
func TestBlocksByGossip(t *testing.T) {
	net := network.Load(t)
	shared := &followers{
		whole: t, net: net, hospital: net.Admin(t, net.Organization(t, "hospital")),
		maker: net.Admin(t, net.Organization(t, "maker")), regulator: net.Organization(t, "regulator"),
	}
	t.Cleanup(func() { net.Revive(t) })
	for _, step := range []struct {
		name string
		run  func(*followers, *testing.T)
	}{
		{"a peer of Fabric gets its blocks from ours", (*followers).fabricFollows},
		{"a peer of ours gets its blocks from Fabric's", (*followers).oursFollows},
		{"they elect a leader, and another one when it dies", (*followers).elected},
		{"every block is the same", (*followers).sameBlocks},
	} {
		if !t.Run(step.name, func(inner *testing.T) { step.run(shared, inner) }) {
			return
		}
	}
}

// What one step leaves for the next.
type followers struct {
	whole           *testing.T
	net             *network.Network
	hospital, maker *network.Terminal
	regulator       network.Organization
	fabric          *network.FabricPeer
	ours            *network.OwnPeer
	// A line of our peer's configuration: other organizations' peers are anchors, this one is not.
	bootstrap string
	written   int
}

// Settings of a peer of Fabric that does not pull from the ordering service, that does, and that does if
// it is elected. The state transfer is on unless they say otherwise.
var (
	fabricFollower = []string{"CORE_PEER_GOSSIP_ORGLEADER=false"}
	fabricDeaf     = append(fabricFollower, "CORE_PEER_GOSSIP_STATE_ENABLED=false")
	fabricLeader   = []string{"CORE_PEER_GOSSIP_ORGLEADER=true", "CORE_PEER_DELIVERYCLIENT_BLOCKGOSSIPENABLED=true"}
	fabricElected  = []string{
		"CORE_PEER_GOSSIP_ORGLEADER=false", "CORE_PEER_GOSSIP_USELEADERELECTION=true",
		"CORE_PEER_DELIVERYCLIENT_BLOCKGOSSIPENABLED=true",
		"CORE_PEER_GOSSIP_ELECTION_STARTUPGRACEPERIOD=5s", "CORE_PEER_GOSSIP_ELECTION_MEMBERSHIPSAMPLEINTERVAL=500ms",
		"CORE_PEER_GOSSIP_ELECTION_LEADERALIVETHRESHOLD=4s", "CORE_PEER_GOSSIP_ELECTION_LEADERELECTIONDURATION=2s",
	}
)

// The same of ours.
var (
	ourFollower = []string{"orgLeader: false", "state: {enabled: true, checkInterval: 1s}"}
	ourDeaf     = []string{"orgLeader: false"}
	ourElected  = []string{
		"useLeaderElection: true", "state: {enabled: true, checkInterval: 1s}",
		"election: {startupGracePeriod: 5s, membershipSampleInterval: 500ms, leaderAliveThreshold: 4s, leaderElectionDuration: 2s}",
	}
)

// Puts some blocks on the chain.
func (w *followers) write(t *testing.T, blocks int) {
	t.Helper()
	for range blocks {
		w.written++
		call := fmt.Sprintf(`{"Args":["put","gossip%d-%d","value"]}`, os.Getpid(), w.written)
		flags := append([]string{"chaincode", "invoke", "--waitForEvent", "-C", w.net.Channel, "-n", "kv", "-c", call}, w.hospital.Orderer()...)
		for _, endorser := range []*network.Terminal{w.hospital, w.maker} {
			flags = append(flags, "--peerAddresses", endorser.Address, "--tlsRootCertFiles", w.net.TLSRoot(endorser.Org))
		}
		w.hospital.Peer(t, flags...)
	}
}

// Waits until a peer has all blocks that there are at the hospital's.
func (w *followers) hasAll(t *testing.T, at *network.Terminal) {
	t.Helper()
	target, err := w.hospital.Height(t)
	network.Must(t, err)
	w.reaches(t, at, target)
}

func (w *followers) reaches(t *testing.T, at *network.Terminal, target uint64) {
	t.Helper()
	network.Eventually(t, "the peer at "+at.Address+" catches up", func() error {
		height, err := at.Height(t)
		if err == nil && height < target {
			err = fmt.Errorf("height %d of %d", height, target)
		}
		return err
	})
}

func (w *followers) join(t *testing.T, at *network.Terminal) {
	t.Helper()
	at.Peer(t, "channel", "join", "-b", filepath.Join(w.net.Dir, "channel", w.net.Channel+".block"))
}

func (w *followers) fabricFollows(t *testing.T) {
	w.write(t, 15)
	w.fabric = network.NewFabricPeer(w.whole, w.net, w.regulator, fabricFollower...)
	w.join(t, w.fabric.Terminal)
	// What was there before it: by state transfer, in several requests.
	w.hasAll(t, w.fabric.Terminal)
	// What is new: pushed or pulled.
	w.fabric.Running.Kill()
	w.fabric.Settings = fabricDeaf
	w.fabric.Start(w.whole)
	w.write(t, 5)
	w.hasAll(t, w.fabric.Terminal)
}

func (w *followers) oursFollows(t *testing.T) {
	w.fabric.Running.Kill()
	w.fabric.Settings = fabricLeader
	w.fabric.Start(w.whole)
	w.hasAll(t, w.fabric.Terminal)
	height, err := w.fabric.Height(t)
	network.Must(t, err)
	// There is no other peer than Fabric's.
	for _, org := range w.net.Organizations {
		w.net.Kill(t, "peer0."+org.Domain)
	}
	w.bootstrap = "bootstrap: " + w.fabric.Address
	w.ours = network.NewOwnPeer(w.whole, w.net, w.regulator, append(ourFollower, w.bootstrap)...)
	w.join(t, w.ours.Terminal)
	w.reaches(t, w.ours.Terminal, height)
	// Nobody pushes to it but Fabric's peer, the only other one of the organization.
	w.net.Revive(t)
	w.net.Kill(t, "peer0."+w.regulator.Domain)
	w.ours.Running.Kill()
	w.ours.Gossip = append(ourDeaf, w.bootstrap)
	w.ours.Start(w.whole)
	w.write(t, 5)
	w.hasAll(t, w.ours.Terminal)
}

func (w *followers) elected(t *testing.T) {
	w.fabric.Running.Kill()
	w.ours.Running.Kill()
	w.fabric.Settings, w.ours.Gossip = fabricElected, append(ourElected, w.bootstrap)
	w.fabric.Start(w.whole)
	w.ours.Start(w.whole)
	w.write(t, 2)
	w.hasAll(t, w.fabric.Terminal)
	w.hasAll(t, w.ours.Terminal)
	leads, follows := w.oneLeads(t)
	t.Logf("%s leads", leads.name)
	for range 2 {
		leads.kill()
		w.write(t, 2)
		w.hasAll(t, follows.at)
		leads.start()
		w.hasAll(t, leads.at)
		leads, follows = w.oneLeads(t)
		t.Logf("%s leads", leads.name)
	}
}

// One of the two peers.
type elector struct {
	name        string
	at          *network.Terminal
	isLeader    func() (bool, error)
	kill, start func()
}

// Waits until one of the two leads and the other does not; the leader comes first.
func (w *followers) oneLeads(t *testing.T) (elector, elector) {
	t.Helper()
	fabric := elector{"Fabric's peer", w.fabric.Terminal, w.fabric.IsLeader, w.fabric.Running.Kill, func() { w.fabric.Start(w.whole) }}
	ours := elector{"our peer", w.ours.Terminal, w.ours.IsLeader, w.ours.Running.Kill, func() { w.ours.Start(w.whole) }}
	found := [2]elector{fabric, ours}
	network.Eventually(t, "one of the two leads", func() error {
		ofFabric, err := fabric.isLeader()
		if err != nil {
			return err
		}
		ofOurs, err := ours.isLeader()
		if err != nil {
			return err
		}
		if ofFabric == ofOurs {
			return fmt.Errorf("Fabric's leads: %v, ours leads: %v", ofFabric, ofOurs)
		}
		if ofOurs {
			found = [2]elector{ours, fabric}
		}
		return nil
	})
	return found[0], found[1]
}

// Header, transactions, validation flags and commit hash of every block are the same at all.
func (w *followers) sameBlocks(t *testing.T) {
	w.hasAll(t, w.fabric.Terminal)
	w.hasAll(t, w.ours.Terminal)
	height, err := w.hospital.Height(t)
	network.Must(t, err)
	for number := range height {
		first := w.hospital.Block(t, number)
		for _, peer := range []*network.Terminal{w.fabric.Terminal, w.ours.Terminal} {
			other := peer.Block(t, number)
			if !proto.Equal(first.Header, other.Header) || !proto.Equal(first.Data, other.Data) {
				t.Fatalf("block %d at %s is another one", number, peer.Address)
			}
			for _, index := range []common.BlockMetadataIndex{common.BlockMetadataIndex_TRANSACTIONS_FILTER, common.BlockMetadataIndex_COMMIT_HASH} {
				if string(first.Metadata.Metadata[index]) != string(other.Metadata.Metadata[index]) {
					t.Fatalf("block %d: %v differs at %s", number, index, peer.Address)
				}
			}
		}
	}
	t.Logf("%d blocks are the same", height)
}
