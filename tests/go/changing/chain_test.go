package changing

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric/protoutil"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/protobuf/proto"

	"consilium/tests/go/network"
)

// Fabric's code makes gRPC tell of everything it does.
func init() { grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)) }

// Chain is what a peer has of the channel, as Fabric's own code reads it.
type chain struct {
	blocks []string
	// Transactions of the contract, in order.
	calls []call
}

type call struct {
	block   uint64
	id      string
	code    peer.TxValidationCode
	payload string
}

// The notes that a listener has to have made whose first block is start.
func (c *chain) notes(blocks bool, start uint64) []string {
	if blocks {
		return c.blocks
	}
	var notes []string
	for _, made := range c.calls {
		if made.code == peer.TxValidationCode_VALID && made.block >= start {
			notes = append(notes, fmt.Sprintf("%d %s %s", made.block, made.id, made.payload))
		}
	}
	return notes
}

// How often each transaction is in the chain as valid.
func (c *chain) valid() map[string]int {
	found := map[string]int{}
	for _, made := range c.calls {
		if made.code == peer.TxValidationCode_VALID {
			found[made.id]++
		}
	}
	return found
}

// Reads blocks until the one with the transaction.
func readChain(t testing.TB, from *client.Network, last string) *chain {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	blocks, err := from.BlockEvents(ctx, client.WithStartBlock(0))
	network.Must(t, err)
	read := &chain{}
	for block := range blocks {
		read.add(t, block)
		if slices.ContainsFunc(read.calls, func(made call) bool { return made.id == last }) {
			return read
		}
	}
	t.Fatalf("the stream of blocks ended before %s", last)
	return nil
}

func (c *chain) add(t testing.TB, block *common.Block) {
	t.Helper()
	c.blocks = append(c.blocks, noteBlock(block))
	flags := block.GetMetadata().GetMetadata()[common.BlockMetadataIndex_TRANSACTIONS_FILTER]
	for at, raw := range block.GetData().GetData() {
		envelope, err := protoutil.GetEnvelopeFromBlock(raw)
		network.Must(t, err)
		header, err := protoutil.ChannelHeader(envelope)
		network.Must(t, err)
		if header.GetType() != int32(common.HeaderType_ENDORSER_TRANSACTION) {
			continue
		}
		action, err := protoutil.GetActionFromEnvelopeMsg(envelope)
		network.Must(t, err)
		if action.GetChaincodeId().GetName() != contractName {
			continue
		}
		event := &peer.ChaincodeEvent{}
		network.Must(t, proto.Unmarshal(action.GetEvents(), event))
		c.calls = append(c.calls, call{
			block.GetHeader().GetNumber(), header.GetTxId(), peer.TxValidationCode(flags[at]), string(event.GetPayload()),
		})
	}
}
