package changing

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/status"
)

// Submit has one call endorsed, ordered and committed, exactly once, however often a step has to be
// repeated. The gateways are those of one identity at several peers, the nearest first.
func Submit(ctx context.Context, gateways []*client.Gateway, channel, contract, function string, args ...string) (*client.Status, error) {
	for {
		transaction, err := endorse(ctx, gateways, channel, contract, function, args)
		if err != nil {
			return nil, err
		}
		committed, err := order(ctx, gateways, transaction)
		if err != nil || !conflicts(committed.Code) || !pause(ctx) {
			return committed, err
		}
		// What it read has changed since, perhaps the contract's definition: nothing was written.
	}
}

// endorse asks until a gateway finds the endorsements. Nothing is ordered yet, so every try may be a
// new proposal. What the contract itself refuses it would refuse again.
func endorse(ctx context.Context, gateways []*client.Gateway, channel, contract, function string, args []string) (*client.Transaction, error) {
	for try := 0; ; try++ {
		shared := gateways[try%len(gateways)].GetNetwork(channel).GetContract(contract)
		proposal, err := shared.NewProposal(function, client.WithArguments(args...))
		if err != nil {
			return nil, err
		}
		// The gateway's timeouts are short, so that a peer that hangs costs little.
		transaction, err := proposal.Endorse()
		if err == nil {
			return transaction, nil
		}
		if refused(err) || !pause(ctx) {
			return nil, err
		}
	}
}

// order sends the transaction until its fate is known. From the first time on it may be ordered, so
// what is repeated is this one: of two copies with one id the second is invalid.
func order(ctx context.Context, gateways []*client.Gateway, transaction *client.Transaction) (*client.Status, error) {
	bytes, err := transaction.Bytes()
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		committed, err := send(gateways[try%len(gateways)], bytes)
		if err == nil {
			return committed, nil
		}
		if !pause(ctx) {
			return nil, fmt.Errorf("the fate of %s is not known: %w", transaction.TransactionID(), err)
		}
	}
}

func send(at *client.Gateway, bytes []byte) (*client.Status, error) {
	transaction, err := at.NewTransaction(bytes)
	if err != nil {
		return nil, err
	}
	commit, err := transaction.Submit()
	if err != nil {
		return nil, err
	}
	return commit.Status()
}

// Whether somebody else was faster.
func conflicts(code peer.TxValidationCode) bool {
	return code == peer.TxValidationCode_MVCC_READ_CONFLICT || code == peer.TxValidationCode_PHANTOM_READ_CONFLICT
}

// Whether a contract has answered, and no.
func refused(err error) bool {
	for _, detail := range status.Convert(err).Details() {
		if endorser, ok := detail.(*gateway.ErrorDetail); ok && strings.HasPrefix(endorser.GetMessage(), "chaincode response ") {
			return true
		}
	}
	return false
}

// pause waits a little, unless there is no time left.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(200 * time.Millisecond):
		return true
	}
}
