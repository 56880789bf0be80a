package ordering

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	ordererconfig "github.com/hyperledger/fabric-config/configtx/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/smartbft"
	"google.golang.org/protobuf/proto"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/network"
	"consilium/tests/ordering/pki"
)

const applying = "error applying config update to existing channel 'records': "

func expectAnswer(t *testing.T, response *orderer.BroadcastResponse, status common.Status, info string) {
	t.Helper()
	if response.Status != status || !matches(response.Info, info) {
		t.Errorf("answer %s %q\n          not %s %q", response.Status, response.Info, status, info)
	}
}

func TestConfigUpdatesOfFabricConfigChangeTheChannelOnEveryNode(t *testing.T) {
	net := network.Start(t, network.Options{})
	admins := net.OrdererAdmins()
	everywhere := func(t *testing.T, what string, holds func(*common.Config) bool) {
		t.Helper()
		for _, node := range net.Nodes {
			network.Within(t, 10*time.Second, node.Name+" has "+what, func() bool { return holds(net.Config(t, node)) })
		}
		net.EqualChains(t)
	}

	t.Run("a batch size that two of three ordering organizations sign", func(t *testing.T) {
		response := net.Submit(t, net.Follower(t), func(config *configtx.ConfigTx) error {
			return config.Orderer().BatchSize().SetMaxMessageCount(3)
		}, admins[:2]...)
		expectAnswer(t, response, common.Status_SUCCESS, "")
		everywhere(t, "the batch size", func(config *common.Config) bool {
			size := &orderer.BatchSize{}
			network.OrdererValue(t, config, "BatchSize", size)
			return size.MaxMessageCount == 3
		})
		sendAtOnce(t, net, net.Leader(t), 40)
		largest := 0
		net.Chain(t, net.Nodes[0], func(block *common.Block) { largest = max(largest, len(block.Data.Data)) })
		if largest > 3 {
			t.Errorf("a block has %d messages", largest)
		}
	})
	t.Run("a batch timeout", func(t *testing.T) {
		response := net.Submit(t, net.Leader(t), func(config *configtx.ConfigTx) error {
			return config.Orderer().SetBatchTimeout(250 * time.Millisecond)
		}, admins...)
		expectAnswer(t, response, common.Status_SUCCESS, "")
		everywhere(t, "the batch timeout", func(config *common.Config) bool {
			timeout := &orderer.BatchTimeout{}
			network.OrdererValue(t, config, "BatchTimeout", timeout)
			return timeout.Timeout == "250ms"
		})
	})
	newcomer := network.NewOrganization(t, "newcomer")
	t.Run("another application organization", func(t *testing.T) {
		node := net.Follower(t)
		envelope, err := client.Message(net.Channel, "of a newcomer", newcomer.Client)
		if err != nil {
			t.Fatal(err)
		}
		expectAnswer(t, net.Broadcast(t, node, envelope), common.Status_FORBIDDEN, notWriter)
		if _, err := tryBroadcast(node, newcomer, envelope); err == nil {
			t.Error("a TLS certificate of the newcomer is trusted too early")
		}
		response := net.Submit(t, node, func(config *configtx.ConfigTx) error {
			return config.Application().SetOrganization(newcomer.Config())
		}, net.Application.Admin)
		expectAnswer(t, response, common.Status_SUCCESS, "")
		everywhere(t, "the organization", func(config *common.Config) bool {
			return config.ChannelGroup.Groups["Application"].Groups["newcomer"] != nil
		})
		for _, node := range net.Nodes {
			response, err := tryBroadcast(node, newcomer, envelope)
			if err != nil {
				t.Fatalf("%s: %v", node.Name, err)
			}
			expectAnswer(t, response, common.Status_SUCCESS, "")
		}
	})
	t.Run("a policy that takes the newcomer's right to write", func(t *testing.T) {
		response := net.Submit(t, net.Leader(t), func(config *configtx.ConfigTx) error {
			return config.Application().SetPolicy("Writers", configtx.Policy{
				Type: configtx.SignaturePolicyType, Rule: "OR('clinicMSP.client')",
			})
		}, net.Application.Admin, newcomer.Admin)
		expectAnswer(t, response, common.Status_SUCCESS, "")
		net.EqualChains(t)
		for _, node := range net.Nodes {
			for organization, status := range map[*network.Organization]common.Status{
				newcomer: common.Status_FORBIDDEN, net.Application: common.Status_SUCCESS,
			} {
				envelope, err := client.Message(net.Channel, "after the policy", organization.Client)
				if err != nil {
					t.Fatal(err)
				}
				if response := net.Broadcast(t, node, envelope); response.Status != status {
					t.Errorf("%s answers %s %q to %s", node.Name, response.Status, response.Info, organization.Name)
				}
			}
		}
	})
	t.Run("an endpoint, which is its organization's own business", func(t *testing.T) {
		another := configtx.Address{Host: "orderer.north.example", Port: 7050}
		change := func(config *configtx.ConfigTx) error {
			return config.Orderer().Organization("north").SetEndpoint(another)
		}
		node := net.Leader(t)
		response := net.Submit(t, node, change, net.Orderers[1].Admin)
		expectAnswer(t, response, common.Status_BAD_REQUEST, applying+"error authorizing update: error validating DeltaSet: "+
			"policy for [Value]  /Channel/Orderer/north/Endpoints not satisfied: signature set did not satisfy policy")
		expectAnswer(t, net.Submit(t, node, change, net.Orderers[0].Admin), common.Status_SUCCESS, "")
		everywhere(t, "the endpoint", func(config *common.Config) bool {
			updated := configtx.New(config)
			north, err := updated.Orderer().Organization("north").Configuration()
			return err == nil && strings.Contains(fmt.Sprint(north.OrdererEndpoints), "orderer.north.example:7050")
		})
	})
	t.Run("every node still verifies, with the configuration of each block", func(t *testing.T) {
		net.EqualChains(t)
	})
}

func TestConfigUpdatesAreRefusedWithFabricsStatusAndMessage(t *testing.T) {
	net := network.Start(t, network.Options{})
	admins := net.OrdererAdmins()
	node := net.Follower(t)
	count := func(number uint32) network.Change {
		return func(config *configtx.ConfigTx) error {
			return config.Orderer().BatchSize().SetMaxMessageCount(number)
		}
	}
	raw := func(change func(*common.ConfigGroup)) network.Change {
		return func(config *configtx.ConfigTx) error {
			change(config.UpdatedConfig().ChannelGroup.Groups["Orderer"])
			return nil
		}
	}
	value := func(group *common.ConfigGroup, key string, message proto.Message) {
		encoded, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		group.Values[key].Value = encoded
	}
	authorizing := applying + "error authorizing update: "
	unsatisfied := authorizing + "error validating DeltaSet: policy for [Value]  /Channel/Orderer/BatchSize not satisfied: " +
		"implicit policy evaluation failed - %d sub-policies were satisfied, but this policy requires 2 of the 'Admins' sub-policies to be satisfied"
	metadata := applying + "consensus metadata update for channel config update is invalid: "
	foreign := network.NewOrganization(t, "foreign")

	cases := []struct {
		name    string
		change  network.Change
		signers []*pki.Identity
		status  common.Status
		info    string
	}{
		{"one signature where two are needed", count(5), admins[:1], common.Status_BAD_REQUEST, fmt.Sprintf(unsatisfied, 1)},
		{"the same organization twice", count(5), []*pki.Identity{admins[0], admins[0]}, common.Status_BAD_REQUEST, fmt.Sprintf(unsatisfied, 1)},
		{"an administrator of another group", count(5), []*pki.Identity{net.Application.Admin}, common.Status_BAD_REQUEST, fmt.Sprintf(unsatisfied, 0)},
		{"members that are no administrators", count(5), []*pki.Identity{net.Orderers[0].Client, net.Orderers[1].Client},
			common.Status_BAD_REQUEST, fmt.Sprintf(unsatisfied, 0)},
		{"a submitter that is no member", count(5), append([]*pki.Identity{foreign.Admin}, admins...), common.Status_FORBIDDEN,
			"config update for existing channel did not pass initial checks: " + notWriter},
		{"no messages in a block", count(0), admins, common.Status_BAD_REQUEST,
			applying + "initializing channelconfig failed: could not create channel Orderer sub-group config: " +
				"Attempted to set the batch size max message count to an invalid value: 0"},
		{"a preferred size above the absolute one", func(config *configtx.ConfigTx) error {
			return config.Orderer().BatchSize().SetPreferredMaxBytes(2 << 20)
		}, admins, common.Status_BAD_REQUEST, applying + "initializing channelconfig failed: could not create channel Orderer sub-group config: " +
			"Attempted to set the batch size preferred max bytes (2097152) greater than the absolute max bytes (1048576)."},
		{"a batch timeout that is none", raw(func(group *common.ConfigGroup) {
			value(group, "BatchTimeout", &orderer.BatchTimeout{Timeout: "soon"})
		}), admins, common.Status_BAD_REQUEST, applying + "initializing channelconfig failed: could not create channel Orderer sub-group config: " +
			`Attempted to set the batch timeout to a invalid value: time: invalid duration "soon"`},
		{"a capability that no node has", func(config *configtx.ConfigTx) error {
			return config.Orderer().AddCapability("V9_9")
		}, admins, common.Status_BAD_REQUEST, applying + "config update is not compatible: config requires unsupported orderer capabilities: " +
			"Orderer capability V9_9 is required but not supported: Orderer capability V9_9 is required but not supported"},
		{"heartbeats that are slower than elections", func(config *configtx.ConfigTx) error {
			return config.Orderer().EtcdRaftOptions().SetHeartbeatTick(10)
		}, admins, common.Status_BAD_REQUEST, metadata + "invalid new config metadata: ElectionTick (10) must be greater than HeartbeatTick (10)"},
		{"a consenter whose certificate is of another authority", func(config *configtx.ConfigTx) error {
			certificate := foreign.TLS(t, "node", "127.0.0.1").Cert
			return config.Orderer().AddConsenter(ordererconfig.Consenter{
				Address:       ordererconfig.EtcdAddress{Host: "127.0.0.1", Port: 1},
				ClientTLSCert: certificate, ServerTLSCert: certificate,
			})
		}, admins, common.Status_BAD_REQUEST, metadata + "invalid new config metadata: …"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			expectAnswer(t, net.Submit(t, node, c.change, c.signers...), c.status, c.info)
		})
	}
	t.Run("an update of another channel in this one's envelope", func(t *testing.T) {
		update := configtx.New(net.Config(t, node))
		if err := count(5)(&update); err != nil {
			t.Fatal(err)
		}
		marshaled, err := update.ComputeMarshaledUpdate("another")
		if err != nil {
			t.Fatal(err)
		}
		signed, err := network.SignUpdate(marshaled, admins...)
		if err != nil {
			t.Fatal(err)
		}
		_, payload, err := client.Parse(encode(t, signed))
		if err != nil {
			t.Fatal(err)
		}
		envelope, err := client.Sign(client.Header{Channel: "records", Type: common.HeaderType_CONFIG_UPDATE}, payload.Data, admins[0])
		if err != nil {
			t.Fatal(err)
		}
		expectAnswer(t, net.Broadcast(t, node, envelope), common.Status_BAD_REQUEST,
			authorizing+"ConfigUpdate for channel 'another' but envelope for channel 'records'")
	})
	t.Run("an update against a configuration that is not in force any more", func(t *testing.T) {
		old := net.Config(t, node)
		first, err := net.Update(old, count(7), admins...)
		if err != nil {
			t.Fatal(err)
		}
		second, err := net.Update(old, count(8), admins...)
		if err != nil {
			t.Fatal(err)
		}
		expectAnswer(t, net.Broadcast(t, node, first), common.Status_SUCCESS, "")
		node.AwaitHeight(t, "records", 2)
		for _, late := range []*common.Envelope{first, second} {
			expectAnswer(t, net.Broadcast(t, node, late), common.Status_BAD_REQUEST, authorizing+"error validating DeltaSet: "+
				"attempt to set key [Value]  /Channel/Orderer/BatchSize to version 1, but key is at version 1")
		}
	})
	t.Run("a removed organization that an update still reads", func(t *testing.T) {
		guest := network.NewOrganization(t, "guest")
		added := net.Reconfigure(t, func(config *configtx.ConfigTx) error {
			return config.Application().SetOrganization(guest.Config())
		}, net.Application.Admin)
		late, err := net.Update(added, func(config *configtx.ConfigTx) error {
			config.Application().RemoveOrganization("guest")
			return nil
		}, net.Application.Admin, guest.Admin)
		if err != nil {
			t.Fatal(err)
		}
		expectAnswer(t, net.Broadcast(t, node, late), common.Status_SUCCESS, "")
		node.AwaitHeight(t, "records", 4)
		expectAnswer(t, net.Broadcast(t, node, late), common.Status_BAD_REQUEST, authorizing+"error validating ReadSet: "+
			"proposed update requires that key [Group]  /Channel/Application be at version 1, but it is currently at version 2")
	})
	t.Run("none of the refused updates is in the chain", func(t *testing.T) {
		chain := net.EqualChains(t)
		if config := net.Config(t, node); config.Sequence != 3 || chain.Height != 4 {
			t.Errorf("sequence %d, %d blocks", config.Sequence, chain.Height)
		}
	})
}

func TestMaintenanceModeKeepsFabricsRules(t *testing.T) {
	net := network.Start(t, network.Options{})
	admins := net.OrdererAdmins()
	node := net.Follower(t)
	checks := "config update for existing channel did not pass maintenance checks: config transaction inspection failed: "
	consensus := func(change func(*orderer.ConsensusType)) network.Change {
		return func(config *configtx.ConfigTx) error {
			group := config.UpdatedConfig().ChannelGroup.Groups["Orderer"]
			value := &orderer.ConsensusType{}
			if err := proto.Unmarshal(group.Values["ConsensusType"].Value, value); err != nil {
				return err
			}
			change(value)
			encoded, err := proto.Marshal(value)
			group.Values["ConsensusType"].Value = encoded
			return err
		}
	}
	toBFT := consensus(func(value *orderer.ConsensusType) {
		value.Type = "BFT"
		value.Metadata, _ = proto.Marshal(&smartbft.Options{RequestBatchMaxCount: 10})
	})
	enter := func(config *configtx.ConfigTx) error {
		return config.Orderer().SetConsensusState(ordererconfig.ConsensusStateMaintenance)
	}
	leave := func(config *configtx.ConfigTx) error {
		return config.Orderer().SetConsensusState(ordererconfig.ConsensusStateNormal)
	}
	also := func(change network.Change) network.Change {
		return func(config *configtx.ConfigTx) error {
			if err := change(config); err != nil {
				return err
			}
			return config.Orderer().SetBatchTimeout(3 * time.Second)
		}
	}
	await := func(t *testing.T, state orderer.ConsensusType_State) {
		t.Helper()
		for _, node := range net.Nodes {
			network.Within(t, 10*time.Second, node.Name+" is in "+state.String(), func() bool {
				value := &orderer.ConsensusType{}
				network.OrdererValue(t, net.Config(t, node), "ConsensusType", value)
				return value.State == state
			})
		}
	}
	onlyOne := checks + "config update contain more then just the ConsensusType value in the Orderer group"
	message, err := client.Message(net.Channel, "text", net.Application.Client)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("outside of it the consensus type does not change", func(t *testing.T) {
		expectAnswer(t, net.Submit(t, node, toBFT, admins...), common.Status_BAD_REQUEST, checks+
			"attempted to change consensus type from etcdraft to BFT, but current config ConsensusType.State is not in maintenance mode")
	})
	t.Run("it is not entered together with another change", func(t *testing.T) {
		expectAnswer(t, net.Submit(t, node, also(enter), admins...), common.Status_BAD_REQUEST, onlyOne)
	})
	t.Run("it is not entered together with another metadata", func(t *testing.T) {
		response := net.Submit(t, node, func(config *configtx.ConfigTx) error {
			if err := config.Orderer().EtcdRaftOptions().SetElectionInterval(20); err != nil {
				return err
			}
			return enter(config)
		}, admins...)
		expectAnswer(t, response, common.Status_BAD_REQUEST, checks+
			"attempted to change ConsensusType.Metadata, but ConsensusType.State is changing from STATE_NORMAL to STATE_MAINTENANCE")
		if response.Status == common.Status_SUCCESS {
			await(t, orderer.ConsensusType_STATE_MAINTENANCE)
			net.Reconfigure(t, leave, admins...)
			await(t, orderer.ConsensusType_STATE_NORMAL)
		}
	})
	t.Run("it is entered by itself", func(t *testing.T) {
		expectAnswer(t, net.Submit(t, node, enter, admins...), common.Status_SUCCESS, "")
		await(t, orderer.ConsensusType_STATE_MAINTENANCE)
	})
	t.Run("inside, messages are refused", func(t *testing.T) {
		for _, node := range net.Nodes {
			expectAnswer(t, net.Broadcast(t, node, message), common.Status_SERVICE_UNAVAILABLE,
				"normal transactions are rejected: maintenance mode")
		}
	})
	t.Run("inside, only the ordering organizations read and update", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := node.Dial(t, net.Application).Blocks(ctx, "records", client.Oldest, client.Newest, net.Application.Client)
		if status := statusOf(t, err); status != common.Status_FORBIDDEN {
			t.Errorf("a client reads with %s", status)
		}
		response := net.Submit(t, node, func(config *configtx.ConfigTx) error {
			return config.Application().SetACLs(map[string]string{"event/Block": "/Channel/Application/Readers"})
		}, net.Application.Admin)
		expectAnswer(t, response, common.Status_FORBIDDEN, "config update for existing channel did not pass initial checks: "+notWriter)
	})
	t.Run("it is not left together with another change", func(t *testing.T) {
		expectAnswer(t, net.Submit(t, node, also(leave), admins...), common.Status_BAD_REQUEST, onlyOne)
	})
	t.Run("it survives a restart", func(t *testing.T) {
		for _, node := range net.Nodes {
			node.Kill()
		}
		net.StartAll(t)
		net.Leader(t)
		expectAnswer(t, net.Broadcast(t, node, message), common.Status_SERVICE_UNAVAILABLE,
			"normal transactions are rejected: maintenance mode")
	})
	t.Run("after it messages are taken again", func(t *testing.T) {
		expectAnswer(t, net.Submit(t, node, leave, admins...), common.Status_SUCCESS, "")
		await(t, orderer.ConsensusType_STATE_NORMAL)
		for _, node := range net.Nodes {
			expectAnswer(t, net.Broadcast(t, node, message), common.Status_SUCCESS, "")
		}
		net.EqualChains(t)
	})
}

func encode(t *testing.T, message proto.Message) []byte {
	t.Helper()
	encoded, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// tryBroadcast sends an envelope over a connection of another organization.
func tryBroadcast(node *network.Node, organization *network.Organization, envelope *common.Envelope) (*orderer.BroadcastResponse, error) {
	caller, err := node.Client(organization)
	if err != nil {
		return nil, err
	}
	defer caller.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return caller.Broadcast(ctx, envelope)
}

// sendAtOnce sends that many messages side by side, over one stream each.
func sendAtOnce(t *testing.T, net *network.Network, node *network.Node, messages int) {
	t.Helper()
	caller := node.Dial(t, net.Application)
	answers := make(chan error, messages)
	for number := range messages {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			defer cancel()
			envelope, err := client.Message(net.Channel, fmt.Sprint("at once ", number), net.Application.Client)
			if err == nil {
				var response *orderer.BroadcastResponse
				if response, err = caller.Broadcast(ctx, envelope); err == nil && response.Status != common.Status_SUCCESS {
					err = fmt.Errorf("%s %s", response.Status, response.Info)
				}
			}
			answers <- err
		}()
	}
	for range messages {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}
