package network

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/protobuf/proto"

	"consilium/tests/ordering/pki"
)

// Change edits a configuration through fabric-config.
type Change func(*configtx.ConfigTx) error

// OrdererAdmins are the administrators of the ordering organizations: enough for every change of
// the Orderer group.
func (n *Network) OrdererAdmins() []*pki.Identity {
	var admins []*pki.Identity
	for _, organization := range n.Orderers {
		admins = append(admins, organization.Admin)
	}
	return admins
}

// AllAdmins are the administrators of all organizations.
func (n *Network) AllAdmins() []*pki.Identity {
	return append(n.OrdererAdmins(), n.Application.Admin)
}

// Config reads the configuration in force from a node.
func (n *Network) Config(t testing.TB, from *Node) *common.Config {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	config, err := from.Dial(t, n.Application).Config(ctx, n.Channel, n.Orderers[0].Admin)
	must(t, err)
	return config
}

// Update makes a signed config update out of a change; the first signer also submits it.
func (n *Network) Update(config *common.Config, change Change, signers ...*pki.Identity) (*common.Envelope, error) {
	update := configtx.New(config)
	if err := change(&update); err != nil {
		return nil, fmt.Errorf("change: %w", err)
	}
	marshaled, err := update.ComputeMarshaledUpdate(n.Channel)
	if err != nil {
		return nil, err
	}
	return SignUpdate(marshaled, signers...)
}

// SignUpdate signs an encoded config update.
func SignUpdate(marshaled []byte, signers ...*pki.Identity) (*common.Envelope, error) {
	var signatures []*common.ConfigSignature
	for _, signer := range signers {
		signature, err := signer.ConfigSigner().CreateConfigSignature(marshaled)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	envelope, err := configtx.NewEnvelope(marshaled, signatures...)
	if err != nil {
		return nil, err
	}
	return envelope, signers[0].ConfigSigner().SignEnvelope(envelope)
}

// Submit makes a config update from the configuration that a node has and sends it there.
func (n *Network) Submit(t testing.TB, through *Node, change Change, signers ...*pki.Identity) *orderer.BroadcastResponse {
	t.Helper()
	envelope, err := n.Update(n.Config(t, through), change, signers...)
	must(t, err)
	return n.Broadcast(t, through, envelope)
}

// Broadcast sends an envelope through a node.
func (n *Network) Broadcast(t testing.TB, through *Node, envelope *common.Envelope) *orderer.BroadcastResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	response, err := through.Dial(t, n.Application).Broadcast(ctx, envelope)
	must(t, err)
	return response
}

// Reconfigure submits a change to the leader until it is in force, as an administrator would: a
// leader may change, has to learn which nodes are alive before it changes the consenters, and an
// answer may get lost. It gives back the configuration in force afterwards.
func (n *Network) Reconfigure(t testing.TB, change Change, signers ...*pki.Identity) *common.Config {
	t.Helper()
	var sequence uint64
	last := "no leader"
	try := func() bool {
		leader := n.TryLeader()
		if leader == nil {
			return false
		}
		config, err := n.tryConfig(t, leader)
		if err != nil {
			last = err.Error()
			return false
		}
		envelope, err := n.Update(config, change, signers...)
		if err != nil && strings.Contains(err.Error(), "no differences detected") {
			// An earlier try, whose answer got lost, has done it.
			sequence = config.Sequence
			return true
		}
		must(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		response, err := leader.Dial(t, n.Application).Broadcast(ctx, envelope)
		if err != nil {
			last = err.Error()
			return false
		}
		last = fmt.Sprintf("%s answers %s %q", leader.Name, response.Status, response.Info)
		passing := response.Status == common.Status_SERVICE_UNAVAILABLE
		for _, text := range []string{"proposed update requires that key", "attempt to set key", "nodes are alive"} {
			passing = passing || strings.Contains(response.Info, text)
		}
		switch {
		case response.Status == common.Status_SUCCESS:
			sequence = config.Sequence + 1
		case !passing:
			t.Fatal(last)
		}
		return response.Status == common.Status_SUCCESS
	}
	Within(t, 40*time.Second, "the configuration is changed", func() bool {
		done := try()
		if !done {
			time.Sleep(200 * time.Millisecond)
		}
		return done
	}, func() string { return last })
	var config *common.Config
	Within(t, 20*time.Second, "a node has the new configuration", func() bool {
		for _, node := range n.Running() {
			var err error
			if config, err = n.tryConfig(t, node); err == nil && config.Sequence >= sequence {
				return true
			}
		}
		return false
	})
	return config
}

func (n *Network) tryConfig(t testing.TB, from *Node) (*common.Config, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return from.Dial(t, n.Application).Config(ctx, n.Channel, n.Orderers[0].Admin)
}

// ConfigBlock reads the newest config block from a node.
func (n *Network) ConfigBlock(t testing.TB, from *Node) *common.Block {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	block, err := from.Dial(t, n.Application).ConfigBlock(ctx, n.Channel, n.Orderers[0].Admin)
	must(t, err)
	return block
}

// OrdererValue decodes a value of the Orderer group.
func OrdererValue(t testing.TB, config *common.Config, key string, into proto.Message) {
	t.Helper()
	value := config.GetChannelGroup().GetGroups()[configtx.OrdererGroupKey].GetValues()[key]
	must(t, proto.Unmarshal(value.GetValue(), into))
}
