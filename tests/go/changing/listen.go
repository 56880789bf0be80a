// Package changing is an application that goes on while the network changes: peers come and go, the
// contract gets another version, the consortium another member.
package changing

import (
	"context"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
)

// Events gives every event of the contract to handle, in order and once, until ctx ends. It goes on
// behind the checkpoint, at first with block start; a stream that ends is opened again.
func Events(ctx context.Context, network *client.Network, contract string, start uint64,
	checkpoint *client.FileCheckpointer, handle func(*client.ChaincodeEvent)) error {
	for {
		events, err := network.ChaincodeEvents(ctx, contract, client.WithStartBlock(start), client.WithCheckpoint(checkpoint))
		if err == nil {
			for event := range events {
				handle(event)
				if err := checkpoint.CheckpointChaincodeEvent(event); err != nil {
					return err
				}
			}
		}
		if !pause(ctx) {
			return nil
		}
	}
}

// Blocks does the same with blocks.
func Blocks(ctx context.Context, network *client.Network,
	checkpoint *client.FileCheckpointer, handle func(*common.Block)) error {
	for {
		blocks, err := network.BlockEvents(ctx, client.WithStartBlock(0), client.WithCheckpoint(checkpoint))
		if err == nil {
			for block := range blocks {
				handle(block)
				if err := checkpoint.CheckpointBlock(block.GetHeader().GetNumber()); err != nil {
					return err
				}
			}
		}
		if !pause(ctx) {
			return nil
		}
	}
}
