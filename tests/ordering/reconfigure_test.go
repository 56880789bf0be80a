package ordering

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	ordererconfig "github.com/hyperledger/fabric-config/configtx/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/load"
	"consilium/tests/ordering/network"
	"consilium/tests/ordering/verify"
)

// add lists a node as consenter and names its endpoint.
func add(nodes ...*network.Node) network.Change {
	return func(config *configtx.ConfigTx) error {
		for _, node := range nodes {
			if err := config.Orderer().AddConsenter(node.Consenter()); err != nil {
				return err
			}
			if err := config.Orderer().Organization(node.Organization.Name).SetEndpoint(node.Endpoint()); err != nil {
				return err
			}
		}
		return nil
	}
}

// remove takes a node from the consenters. Its endpoint goes too, unless it is its organization's
// last.
func remove(nodes ...*network.Node) network.Change {
	return func(config *configtx.ConfigTx) error {
		for _, node := range nodes {
			if err := config.Orderer().RemoveConsenter(node.Consenter()); err != nil {
				return err
			}
			organization := config.Orderer().Organization(node.Organization.Name)
			known, err := organization.Configuration()
			if err != nil {
				return err
			}
			if len(known.OrdererEndpoints) > 1 {
				if err := organization.RemoveEndpoint(node.Endpoint()); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// expectFollowing waits until a node that is no consenter has what a consenter has. Fabric's
// followers do not serve Deliver; where they do, their blocks are verified too.
func expectFollowing(t *testing.T, net *network.Network, follower, consenter *network.Node) {
	t.Helper()
	follower.AwaitRelation(t, net.Channel, "follower", "active")
	info, err := consenter.Info(net.Channel)
	if err != nil {
		t.Fatal(err)
	}
	follower.AwaitHeight(t, net.Channel, info.Height)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = follower.Dial(t, net.Application).Blocks(ctx, net.Channel, client.Oldest, client.Oldest, net.Application.Client)
	var refused *client.StatusError
	if errors.As(err, &refused) && refused.Status == common.Status_NOT_FOUND {
		return
	}
	net.EqualChains(t, consenter, follower)
}

func TestANodeThatIsNoConsenterFollowsTheChannel(t *testing.T) {
	net := network.Start(t, network.Options{Spares: 2})
	early, late := net.Nodes[3], net.Nodes[4]
	for number := range 30 {
		net.Send(t, net.Nodes[number%3], fmt.Sprint("before ", number))
	}
	step(t, "from the genesis block", func(t *testing.T) {
		info := early.Join(t, net.Genesis)
		if info.ConsensusRelation != "follower" || info.Status != "onboarding" && info.Status != "active" {
			t.Errorf("joins as %+v", info)
		}
		expectFollowing(t, net, early, net.Nodes[0])
	})
	step(t, "from a later config block", func(t *testing.T) {
		net.Reconfigure(t, func(config *configtx.ConfigTx) error {
			return config.Orderer().BatchSize().SetMaxMessageCount(7)
		}, net.OrdererAdmins()...)
		for number := range 30 {
			net.Send(t, net.Nodes[number%3], fmt.Sprint("between ", number))
		}
		block := net.ConfigBlock(t, net.Leader(t))
		if block.Header.Number == 0 {
			t.Fatal("it is the genesis block")
		}
		info := late.Join(t, block)
		if info.ConsensusRelation != "follower" || info.Status != "onboarding" {
			t.Errorf("joins as %+v", info)
		}
		expectFollowing(t, net, late, net.Nodes[0])
	})
	step(t, "and gets new blocks as they come", func(t *testing.T) {
		for number := range 10 {
			net.Send(t, net.Leader(t), fmt.Sprint("after ", number))
		}
		for _, follower := range []*network.Node{early, late} {
			expectFollowing(t, net, follower, net.Nodes[0])
		}
	})
	step(t, "and does not order", func(t *testing.T) {
		envelope, err := client.Message(net.Channel, "to a follower", net.Application.Client)
		if err != nil {
			t.Fatal(err)
		}
		if response := net.Broadcast(t, early, envelope); response.Status == common.Status_SUCCESS {
			t.Error("it acknowledges a message")
		}
	})
	step(t, "and goes on after kill -9", func(t *testing.T) {
		early.Kill()
		net.Send(t, net.Leader(t), "while a follower is down")
		early.Start(t)
		expectFollowing(t, net, early, net.Nodes[0])
	})
	step(t, "and can leave", func(t *testing.T) {
		late.Leave(t, net.Channel)
		network.Within(t, 10*time.Second, "the channel is gone", func() bool {
			_, err := late.Info(net.Channel)
			return err != nil
		})
	})
}

func TestAFollowerBecomesConsenterAndAConsenterFollower(t *testing.T) {
	net := network.Start(t, network.Options{Spares: 1})
	spare := net.Nodes[3]
	step(t, "AddConsenter makes a follower order", func(t *testing.T) {
		spare.Join(t, net.Genesis)
		expectFollowing(t, net, spare, net.Nodes[0])
		net.Reconfigure(t, add(spare), net.OrdererAdmins()...)
		height := spare.AwaitRelation(t, net.Channel, "consenter", "active").Height
		net.SendSoon(t, spare, "through the new consenter")
		spare.AwaitHeight(t, net.Channel, height+1)
		net.EqualChains(t)
		if chain := net.Chain(t, spare); chain.Signers[spare.Name] == 0 {
			t.Errorf("it signs nothing: %v", chain.Signers)
		}
	})
	step(t, "four consenters do without one", func(t *testing.T) {
		leader := net.Leader(t)
		leader.Kill()
		net.SendSoon(t, net.Leader(t), "by three of four")
		leader.Start(t)
		net.EqualChains(t)
	})
	step(t, "RemoveConsenter makes a running consenter follow", func(t *testing.T) {
		removed := net.Leader(t)
		net.Reconfigure(t, remove(removed), net.OrdererAdmins()...)
		removed.AwaitRelation(t, net.Channel, "follower", "active")
		others := except(net.Nodes, removed)
		network.Within(t, 20*time.Second, "another node leads", func() bool {
			leader := net.TryLeader()
			return leader != nil && leader != removed
		})
		for number, node := range others {
			net.SendSoon(t, node, fmt.Sprint("after the removal ", number))
		}
		net.EqualChains(t, others...)
		expectFollowing(t, net, removed, others[0])
		net.Reconfigure(t, add(removed), net.OrdererAdmins()...)
		removed.AwaitRelation(t, net.Channel, "consenter", "active")
		net.SendSoon(t, removed, "it is back")
		net.EqualChains(t)
	})
	step(t, "RemoveConsenter makes a consenter follow that was down", func(t *testing.T) {
		removed := net.Follower(t)
		removed.Kill()
		others := except(net.Nodes, removed)
		net.Reconfigure(t, remove(removed), net.OrdererAdmins()...)
		for number := range 10 {
			net.SendSoon(t, others[number%3], fmt.Sprint("while it is down ", number))
		}
		removed.Start(t)
		expectFollowing(t, net, removed, others[0])
		net.EqualChains(t, others...)
	})
}

func TestAllConsentersAreReplacedUnderLoadAndNothingAcknowledgedIsLost(t *testing.T) {
	net := network.Start(t, network.Options{Spares: 3, SnapshotIntervalSize: 64 << 10})
	work := load.Start(t, net, 4)
	replaceAll(t, net, work)
	for _, node := range net.Nodes[3:] {
		node.Kill()
	}
	for _, node := range net.Nodes[3:] {
		node.Start(t)
	}
	net.Leader(t)
	net.Send(t, net.Nodes[3], "after a restart of the new nodes")
	net.EqualChains(t, net.Nodes[3:]...)
}

// replaceAll puts three spare nodes in the place of the three consenters, one after the other, and
// stops those.
func replaceAll(t *testing.T, net *network.Network, work workload) {
	t.Helper()
	serving := append([]*network.Node{}, net.Nodes[:3]...)
	for index := range 3 {
		leaving, coming := net.Nodes[index], net.Nodes[3+index]
		work.Await(t, 20, "before "+coming.Name+" comes")
		if index == 1 {
			// The other order: what is listed does not serve the channel yet.
			net.Reconfigure(t, add(coming), net.OrdererAdmins()...)
			work.Await(t, 20, "before "+coming.Name+", which is listed, joins")
			coming.Join(t, net.ConfigBlock(t, serving[0]))
		} else {
			coming.Join(t, net.ConfigBlock(t, serving[0]))
			coming.AwaitRelation(t, net.Channel, "follower", "active")
			net.Reconfigure(t, add(coming), net.OrdererAdmins()...)
		}
		coming.AwaitRelation(t, net.Channel, "consenter", "active")
		serving = append(serving, coming)
		work.Target(serving...)
		work.Await(t, 20, "with four consenters")
		serving = except(serving, leaving)
		work.Target(serving...)
		net.Reconfigure(t, remove(leaving), net.OrdererAdmins()...)
		leaving.AwaitRelation(t, net.Channel, "follower", "active")
		work.Await(t, 20, "without "+leaving.Name)
	}
	for _, node := range net.Nodes[:3] {
		node.Stop(t)
	}
	work.Await(t, 20, "by the new nodes alone")
	work.Check(t, net.Nodes[3:]...)
}

func TestTLSCertificatesAreRotatedInPlaceUnderLoad(t *testing.T) {
	net := network.Start(t, network.Options{})
	rotateAll(t, net, load.Start(t, net, 4), exchange)
}

func TestTLSCertificatesAreRotatedByRemoveAndAddConsenterUnderLoad(t *testing.T) {
	net := network.Start(t, network.Options{})
	rotateAll(t, net, load.Start(t, net, 4), func(old, renewed ordererconfig.Consenter) network.Change {
		return func(config *configtx.ConfigTx) error {
			if err := config.Orderer().RemoveConsenter(old); err != nil {
				return err
			}
			return config.Orderer().AddConsenter(renewed)
		}
	})
}

// exchange puts a consenter's new entry where the old one is.
func exchange(old, renewed ordererconfig.Consenter) network.Change {
	return func(config *configtx.ConfigTx) error {
		now, err := config.Orderer().Configuration()
		if err != nil {
			return err
		}
		for index, consenter := range now.EtcdRaft.Consenters {
			if consenter.ServerTLSCert.Equal(old.ServerTLSCert) {
				now.EtcdRaft.Consenters[index] = renewed
			}
		}
		return config.Orderer().SetEtcdRaftConsensusType(now.EtcdRaft, now.State)
	}
}

// rotateAll gives every consenter a new key and TLS certificate, one after the other.
func rotateAll(t *testing.T, net *network.Network, work workload, change func(old, renewed ordererconfig.Consenter) network.Change) {
	t.Helper()
	for _, node := range net.Nodes {
		work.Await(t, 20, "before "+node.Name+" has a new certificate")
		old, others := node.Consenter(), except(net.Nodes, node)
		// The files change now; the process goes on with the old pair until it is restarted.
		node.UseTLS(t, node.NewTLS(t))
		net.Reconfigure(t, change(old, node.Consenter()), net.OrdererAdmins()...)
		node.Stop(t)
		work.Await(t, 20, "while "+node.Name+" restarts")
		node.Start(t)
		node.AwaitRelation(t, net.Channel, "consenter", "active")
		info, err := others[0].Info(net.Channel)
		if err != nil {
			t.Fatal(err)
		}
		node.AwaitHeight(t, net.Channel, info.Height)
	}
	for _, node := range net.Nodes {
		// Every node is needed once, so every certificate is.
		node.Kill()
		work.Await(t, 20, "without "+node.Name)
		node.Start(t)
	}
	work.Check(t)
}

func TestANodeWhoseDiskIsWipedJoinsAgainAndCatchesUp(t *testing.T) {
	net := network.Start(t, network.Options{SnapshotIntervalSize: 16 << 10})
	work := load.Start(t, net, 4)
	net.Reconfigure(t, func(config *configtx.ConfigTx) error {
		return config.Orderer().BatchSize().SetMaxMessageCount(9)
	}, net.OrdererAdmins()...)
	for _, from := range []string{"genesis block", "newest config block"} {
		step(t, "from the "+from, func(t *testing.T) {
			work.Await(t, 100, "before the disk is wiped")
			wiped := net.Follower(t)
			others := except(net.Nodes, wiped)
			work.Target(others...)
			wiped.Kill()
			wiped.Wipe(t)
			work.Await(t, 50, "without "+wiped.Name)
			wiped.Start(t)
			block := net.Genesis
			if from != "genesis block" {
				block = net.ConfigBlock(t, others[0])
			}
			if info := wiped.Join(t, block); info.ConsensusRelation != "consenter" {
				t.Errorf("joins as %+v", info)
			}
			wiped.AwaitRelation(t, net.Channel, "consenter", "active")
			info, err := others[0].Info(net.Channel)
			if err != nil {
				t.Fatal(err)
			}
			wiped.AwaitHeight(t, net.Channel, info.Height)
			work.Target(net.Nodes...)
			others[0].Kill()
			work.Await(t, 20, "when the wiped node is needed")
			others[0].Start(t)
		})
	}
	work.Check(t)
}

func TestChangesOfTheConsentersThatAreNotSafeAreRefused(t *testing.T) {
	net := network.Start(t, network.Options{Spares: 2})
	prefix := applying + "consensus metadata update for channel config update is invalid: "
	cases := []struct {
		name   string
		change network.Change
		info   string
	}{
		{"two more at once", add(net.Nodes[3], net.Nodes[4]),
			"update of more than one consenter at a time is not supported, requested changes: add 2 node(s), remove 0 node(s)"},
		{"two fewer at once", remove(net.Nodes[1], net.Nodes[2]),
			"update of more than one consenter at a time is not supported, requested changes: add 0 node(s), remove 2 node(s)"},
		{"two exchanged at once", func(config *configtx.ConfigTx) error {
			if err := remove(net.Nodes[1], net.Nodes[2])(config); err != nil {
				return err
			}
			return add(net.Nodes[3], net.Nodes[4])(config)
		}, "update of more than one consenter at a time is not supported, requested changes: add 2 node(s), remove 2 node(s)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			response := net.Submit(t, net.Leader(t), c.change, net.OrdererAdmins()...)
			expectAnswer(t, response, common.Status_BAD_REQUEST, prefix+c.info)
		})
	}
	t.Run("one fewer when it would cost the majority", func(t *testing.T) {
		down := net.Follower(t)
		down.Kill()
		alive := except(net.Nodes[:3], down)
		// A leader notices only after a while that a node is away.
		time.Sleep(5 * time.Second)
		response := net.Submit(t, net.Leader(t), remove(alive[1]), net.OrdererAdmins()...)
		expectAnswer(t, response, common.Status_BAD_REQUEST,
			prefix+"2 out of 3 nodes are alive, configuration will result in quorum loss")
		down.Start(t)
		net.EqualChains(t, net.Nodes[:3]...)
	})
}

// workload is what runs while something happens to a network: raw messages, or the SDKs.
type workload interface {
	// Await waits until that many more messages are acknowledged, or transactions committed.
	Await(t testing.TB, more int, what string)
	// Target names the nodes that clients turn to, if it is for the workload to know them.
	Target(nodes ...*network.Node)
	// Check ends the workload, and fails the test if anything that was acknowledged is missing or an
	// error came that no retry helps against.
	Check(t testing.TB, nodes ...*network.Node) *verify.Chain
}

// step runs a part of a test that later parts build on.
func step(t *testing.T, name string, part func(*testing.T)) {
	t.Helper()
	if !t.Run(name, part) {
		t.FailNow()
	}
}

func except(nodes []*network.Node, left *network.Node) []*network.Node {
	var rest []*network.Node
	for _, node := range nodes {
		if node != left {
			rest = append(rest, node)
		}
	}
	return rest
}
