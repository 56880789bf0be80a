package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"consilium/tests/ordering/pki"
)

// Peer calls one peer: what the gateway SDK does not do.
type Peer struct {
	connection *grpc.ClientConn
	tls        *pki.Credential
}

// DialPeer prepares a connection with mutual TLS; nothing is sent yet.
func DialPeer(address string, roots *x509.CertPool, certificate *pki.Credential) (*Peer, error) {
	connection, err := connect(address, roots, certificate)
	if err != nil {
		return nil, err
	}
	return &Peer{connection, certificate}, nil
}

// Connection is what the gateway SDK calls through.
func (p *Peer) Connection() *grpc.ClientConn { return p.connection }

// Close ends the connection.
func (p *Peer) Close() { _ = p.connection.Close() }

// Propose calls a chaincode of this peer alone, and gives back its answer. Without a channel the
// call concerns the peer itself.
func (p *Peer) Propose(ctx context.Context, caller *pki.Identity, channel, chaincode string, arguments ...[]byte) ([]byte, error) {
	proposal, err := signProposal(caller, channel, chaincode, arguments)
	if err != nil {
		return nil, err
	}
	response, err := peer.NewEndorserClient(p.connection).ProcessProposal(ctx, proposal)
	if err != nil {
		return nil, err
	}
	answer := response.GetResponse()
	if answer.GetStatus() < 200 || answer.GetStatus() >= 400 {
		return nil, fmt.Errorf("%s answers %d %s", chaincode, answer.GetStatus(), answer.GetMessage())
	}
	return answer.GetPayload(), nil
}

func signProposal(caller *pki.Identity, channel, chaincode string, arguments [][]byte) (*peer.SignedProposal, error) {
	creator, err := caller.Serialized()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, 24)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	id := &peer.ChaincodeID{Name: chaincode}
	txID := sha256.Sum256(append(append([]byte{}, nonce...), creator...))
	extension, err := proto.Marshal(&peer.ChaincodeHeaderExtension{ChaincodeId: id})
	if err != nil {
		return nil, err
	}
	channelHeader, err := proto.Marshal(&common.ChannelHeader{
		Type:      int32(common.HeaderType_ENDORSER_TRANSACTION),
		ChannelId: channel,
		TxId:      hex.EncodeToString(txID[:]),
		Timestamp: timestamppb.Now(),
		Extension: extension,
	})
	if err != nil {
		return nil, err
	}
	signatureHeader, err := proto.Marshal(&common.SignatureHeader{Creator: creator, Nonce: nonce})
	if err != nil {
		return nil, err
	}
	header, err := proto.Marshal(&common.Header{ChannelHeader: channelHeader, SignatureHeader: signatureHeader})
	if err != nil {
		return nil, err
	}
	input, err := proto.Marshal(&peer.ChaincodeInvocationSpec{ChaincodeSpec: &peer.ChaincodeSpec{
		ChaincodeId: id, Input: &peer.ChaincodeInput{Args: arguments},
	}})
	if err != nil {
		return nil, err
	}
	payload, err := proto.Marshal(&peer.ChaincodeProposalPayload{Input: input})
	if err != nil {
		return nil, err
	}
	proposal, err := proto.Marshal(&peer.Proposal{Header: header, Payload: payload})
	if err != nil {
		return nil, err
	}
	signature, err := caller.Sign(proposal)
	if err != nil {
		return nil, err
	}
	return &peer.SignedProposal{ProposalBytes: proposal, Signature: signature}, nil
}

// Deliver waits for the blocks from first to last and hands each to receive.
func (p *Peer) Deliver(ctx context.Context, channel string, first, last uint64, reader *pki.Identity, receive func(*common.Block) error) error {
	seek := &orderer.SeekInfo{Start: At(first), Stop: At(last), Behavior: orderer.SeekInfo_BLOCK_UNTIL_READY}
	request, err := seekRequest(channel, seek, reader, p.tls)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := peer.NewDeliverClient(p.connection).Deliver(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return receiveBlocks(stream.Recv, receive)
}
