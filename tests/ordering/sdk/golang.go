package sdk

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	gateway "github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	grpcstatus "google.golang.org/grpc/status"

	"consilium/tests/ordering/network"
)

// golang runs the SDK for Go in this process.
type golang struct {
	contracts []*gateway.Contract
	clients   int
}

func newGo(t testing.TB, net *network.Network, clients int) kit {
	t.Helper()
	made := &golang{clients: clients}
	for _, peer := range net.Peers {
		made.contracts = append(made.contracts, peer.Contract(t, peer.Organization.Client, net.Channel, network.Chaincode,
			gateway.WithEndorseTimeout(endorseTimeout), gateway.WithSubmitTimeout(submitTimeout),
			gateway.WithCommitStatusTimeout(commitTimeout)))
	}
	return made
}

func (g *golang) name() string { return "SDK for Go" }

func (g *golang) run(ctx context.Context, report func(Outcome)) error {
	var running sync.WaitGroup
	for at, contract := range g.contracts {
		for client := range g.clients {
			running.Go(func() {
				for sequence := 0; ctx.Err() == nil; sequence++ {
					outcome := transact(contract, fmt.Sprintf("go %d.%d.%d", at, client, sequence))
					report(outcome)
					rest := Pace
					if outcome.Failed != "" {
						rest = Pause
					}
					time.Sleep(rest)
				}
			})
		}
	}
	running.Wait()
	return nil
}

func transact(contract *gateway.Contract, key string) Outcome {
	failed := func(outcome Outcome, step string, err error) Outcome {
		outcome.Failed, outcome.Code, outcome.Message = step, grpcstatus.Code(err), err.Error()
		return outcome
	}
	proposal, err := contract.NewProposal("put", gateway.WithArguments(key, key))
	if err != nil {
		return failed(Outcome{}, endorse, err)
	}
	outcome := Outcome{ID: proposal.TransactionID()}
	transaction, err := proposal.Endorse()
	if err != nil {
		return failed(outcome, endorse, err)
	}
	sent, err := transaction.Submit()
	if err != nil {
		return failed(outcome, submit, err)
	}
	outcome.Acknowledged = true
	found, err := sent.Status()
	if err != nil {
		return failed(outcome, status, err)
	}
	if !found.Successful {
		outcome.Failed, outcome.Message = commit, peer.TxValidationCode_name[int32(found.Code)]
	}
	return outcome
}
