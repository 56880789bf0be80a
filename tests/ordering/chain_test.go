package ordering

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/load"
	"consilium/tests/ordering/network"
)

func TestThreeOrderersAcceptAGenesisBlockOfFabricConfigAndMakeEqualVerifiableChains(t *testing.T) {
	net := network.New(t, network.Options{})
	net.StartAll(t)
	for _, node := range net.Nodes {
		info := node.Join(t, net.Genesis)
		if want := (network.ChannelInfo{
			Name: "records", URL: network.Channels + "/records",
			ConsensusRelation: "consenter", Status: "active", Height: 1,
		}); info != want {
			t.Errorf("%s joins as %+v", node.Name, info)
		}
	}
	net.Leader(t)

	t.Run("every node takes messages", func(t *testing.T) {
		for _, node := range net.Nodes {
			for number := range 3 {
				net.SendSoon(t, node, fmt.Sprintf("message %d through %s", number, node.Name))
			}
		}
	})
	t.Run("what was sent is in the chain of every node in the order of sending", func(t *testing.T) {
		network.Within(t, 10*time.Second, "all messages are in the chain", func() bool {
			return net.Chain(t, net.Nodes[0]).Envelopes >= 10
		})
		chain := net.EqualChains(t)
		for _, node := range net.Nodes {
			var texts []string
			net.Chain(t, node, func(block *common.Block) {
				for _, envelope := range block.Data.Data {
					_, payload, err := client.Parse(envelope)
					if err != nil {
						t.Fatal(err)
					}
					texts = append(texts, string(payload.Data))
				}
			})
			if len(texts) != 9 || chain.Envelopes != 10 {
				t.Fatalf("%s has %d messages: %q", node.Name, len(texts), texts)
			}
			for position, text := range texts {
				want := fmt.Sprintf("message %d through %s", position%3, net.Nodes[position/3].Name)
				if text != want {
					t.Errorf("%s has %q at place %d, not %q", node.Name, text, position, want)
				}
			}
		}
	})
	t.Run("every node signs its own copy of a block", func(t *testing.T) {
		for _, node := range net.Nodes {
			chain := net.Chain(t, node)
			if chain.Signers[node.Name] == 0 {
				t.Errorf("%s has signed none of its blocks: %v", node.Name, chain.Signers)
			}
		}
	})
	t.Run("blocks are cut by count and by time under load", func(t *testing.T) {
		work := load.Start(t, net, 12)
		work.Await(t, 300, "by twelve clients")
		largest := 0
		work.Check(t)
		net.Chain(t, net.Nodes[0], func(block *common.Block) { largest = max(largest, len(block.Data.Data)) })
		if largest < 2 || largest > int(net.MaxMessageCount) {
			t.Errorf("the largest block has %d messages", largest)
		}
	})
	t.Run("a node that was down catches up and the chains are equal", func(t *testing.T) {
		down := net.Follower(t)
		down.Kill()
		for number := range 20 {
			net.Send(t, net.Leader(t), fmt.Sprintf("while %s is down %d", down.Name, number))
		}
		down.Start(t)
		net.EqualChains(t)
	})
	t.Run("nodes that were stopped in order come back with their chains", func(t *testing.T) {
		before := net.EqualChains(t)
		for _, node := range net.Nodes {
			node.Stop(t)
		}
		net.StartAll(t)
		net.Leader(t)
		net.SendSoon(t, net.Nodes[1], "after the restart")
		net.Nodes[1].AwaitHeight(t, net.Channel, before.Height+1)
		if after := net.EqualChains(t); after.Height != before.Height+1 {
			t.Errorf("%d blocks became %d", before.Height, after.Height)
		}
	})
}

func TestDeliverAnswersAsFabricDoes(t *testing.T) {
	net := network.Start(t, network.Options{Consenters: 1})
	node := net.Nodes[0]
	for number := range uint64(4) {
		net.Send(t, node, fmt.Sprint(number))
		node.AwaitHeight(t, "records", number+2)
	}
	stranger := network.NewOrganization(t, "stranger")
	reader := net.Application.Client
	seek := func(start, stop *orderer.SeekPosition) *orderer.SeekInfo {
		return &orderer.SeekInfo{Start: start, Stop: stop, Behavior: orderer.SeekInfo_FAIL_IF_NOT_READY}
	}
	ok := common.Status_SUCCESS
	cases := []struct {
		name    string
		channel string
		seek    *orderer.SeekInfo
		as      *network.Organization
		status  common.Status
		blocks  []uint64
	}{
		{"all blocks from the oldest to the newest", "records", seek(client.Oldest, client.Newest), nil, ok, []uint64{0, 1, 2, 3, 4}},
		{"the newest block alone", "records", seek(client.Newest, client.Newest), nil, ok, []uint64{4}},
		{"a range of blocks", "records", seek(client.At(1), client.At(3)), nil, ok, []uint64{1, 2, 3}},
		{"a range that ends in the future, without waiting", "records", seek(client.At(3), client.At(9)), nil, common.Status_NOT_FOUND, []uint64{3, 4}},
		{"a start beyond the next block", "records", seek(client.At(6), client.At(9)), nil, common.Status_NOT_FOUND, nil},
		{"a stop before the start", "records", seek(client.At(3), client.At(2)), nil, common.Status_BAD_REQUEST, nil},
		{"no start", "records", seek(nil, client.At(2)), nil, common.Status_BAD_REQUEST, nil},
		{"no stop", "records", seek(client.Oldest, nil), nil, common.Status_BAD_REQUEST, nil},
		{"a channel that is not there", "elsewhere", seek(client.Oldest, client.Newest), nil, common.Status_NOT_FOUND, nil},
		{"a reader of an organization that is no member", "records", seek(client.Oldest, client.Newest), stranger, common.Status_FORBIDDEN, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			as := reader
			if c.as != nil {
				as = c.as.Client
			}
			var blocks []uint64
			err := node.Dial(t, net.Application).Deliver(ctx, c.channel, c.seek, as, func(block *common.Block) error {
				blocks = append(blocks, block.Header.Number)
				return nil
			})
			if status := statusOf(t, err); status != c.status {
				t.Errorf("status %s, not %s", status, c.status)
			}
			if fmt.Sprint(blocks) != fmt.Sprint(c.blocks) {
				t.Errorf("blocks %v, not %v", blocks, c.blocks)
			}
		})
	}
	t.Run("an expired reader is forbidden", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := node.Dial(t, net.Application).Deliver(ctx, "records", seek(client.Oldest, client.Newest),
			net.Application.Expired(t), func(*common.Block) error { return nil })
		if status := statusOf(t, err); status != common.Status_FORBIDDEN {
			t.Errorf("status %s", status)
		}
	})
	t.Run("headers come without data and config blocks whole", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		request := seek(client.Oldest, client.Newest)
		request.ContentType = orderer.SeekInfo_HEADER_WITH_SIG
		err := node.Dial(t, net.Application).Deliver(ctx, "records", request, reader, func(block *common.Block) error {
			if whole := len(block.GetData().GetData()) > 0; whole != (block.Header.Number == 0) {
				t.Errorf("block %d has data: %v", block.Header.Number, whole)
			}
			if len(block.GetMetadata().GetMetadata()) != 5 {
				t.Errorf("block %d has no metadata", block.Header.Number)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("a peer that asks from its height is sent blocks as they come", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		received := make(chan uint64, 10)
		ended := make(chan error, 1)
		request := &orderer.SeekInfo{Start: client.At(5), Stop: client.Never, Behavior: orderer.SeekInfo_BLOCK_UNTIL_READY}
		subscriber := node.Dial(t, net.Application)
		go func() {
			ended <- subscriber.Deliver(ctx, "records", request, reader, func(block *common.Block) error {
				received <- block.Header.Number
				return nil
			})
		}()
		for number := uint64(5); number < 8; number++ {
			net.Send(t, node, fmt.Sprint("later ", number))
			select {
			case got := <-received:
				if got != number {
					t.Fatalf("block %d came instead of %d", got, number)
				}
			case err := <-ended:
				t.Fatalf("the stream ended: %v", err)
			case <-ctx.Done():
				t.Fatalf("block %d does not come", number)
			}
		}
	})
	t.Run("a client without a certificate is not served", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := node.DialWithout(t).Blocks(ctx, "records", client.Oldest, client.Newest, reader)
		if err == nil {
			t.Error("it got blocks")
		}
	})
}

// statusOf is the status with which a Deliver stream ended.
func statusOf(t *testing.T, err error) common.Status {
	t.Helper()
	if err == nil {
		return common.Status_SUCCESS
	}
	var ended *client.StatusError
	if !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return ended.Status
}
