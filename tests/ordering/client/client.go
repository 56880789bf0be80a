package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"consilium/tests/ordering/pki"
)

const largestMessage = 100 << 20

// Client calls one ordering node. Its connection comes back by itself after the node was away.
type Client struct {
	connection *grpc.ClientConn
	service    orderer.AtomicBroadcastClient
	tls        *pki.Credential
}

// Dial prepares a connection; nothing is sent yet. Without a certificate the client shows none.
func Dial(address string, roots *x509.CertPool, certificate *pki.Credential) (*Client, error) {
	connection, err := connect(address, roots, certificate)
	if err != nil {
		return nil, err
	}
	return &Client{connection, orderer.NewAtomicBroadcastClient(connection), certificate}, nil
}

func connect(address string, roots *x509.CertPool, certificate *pki.Credential) (*grpc.ClientConn, error) {
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{certificate.TLS()}
	}
	return grpc.NewClient(
		"passthrough:///"+address,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(largestMessage), grpc.MaxCallSendMsgSize(largestMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 300 * time.Millisecond},
			MinConnectTimeout: 2 * time.Second,
		}),
	)
}

// Close ends the connection.
func (c *Client) Close() { _ = c.connection.Close() }

// Broadcast opens a stream, sends one envelope, and gives back the node's answer.
func (c *Client) Broadcast(ctx context.Context, envelope *common.Envelope) (*orderer.BroadcastResponse, error) {
	stream, err := c.OpenBroadcast(ctx)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return stream.Send(envelope)
}

// BroadcastStream sends one envelope after the other.
type BroadcastStream struct {
	stream orderer.AtomicBroadcast_BroadcastClient
	cancel context.CancelFunc
}

// OpenBroadcast opens a stream that lives as long as ctx, or until Close.
func (c *Client) OpenBroadcast(ctx context.Context) (*BroadcastStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.service.Broadcast(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	return &BroadcastStream{stream, cancel}, nil
}

// Send sends an envelope and waits for its answer.
func (s *BroadcastStream) Send(envelope *common.Envelope) (*orderer.BroadcastResponse, error) {
	// After io.EOF the reason is with Recv.
	if err := s.stream.Send(envelope); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return s.stream.Recv()
}

// Ended waits for the node to end the stream, and says how: nil is the status OK.
func (s *BroadcastStream) Ended() error {
	_, err := s.stream.Recv()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return errors.New("another answer came")
	default:
		return err
	}
}

// Close ends the stream.
func (s *BroadcastStream) Close() { s.cancel() }

// Positions of a seek request.
var (
	Oldest = &orderer.SeekPosition{Type: &orderer.SeekPosition_Oldest{Oldest: &orderer.SeekOldest{}}}
	Newest = &orderer.SeekPosition{Type: &orderer.SeekPosition_Newest{Newest: &orderer.SeekNewest{}}}
	Never  = At(math.MaxUint64)
)

// At is the position of the block with this number.
func At(number uint64) *orderer.SeekPosition {
	return &orderer.SeekPosition{Type: &orderer.SeekPosition_Specified{
		Specified: &orderer.SeekSpecified{Number: number},
	}}
}

// StatusError is what a Deliver stream ended with instead of SUCCESS.
type StatusError struct{ Status common.Status }

func (e *StatusError) Error() string { return "deliver ended with " + e.Status.String() }

// Deliver asks for blocks and hands each to receive, until the node has sent the last one.
func (c *Client) Deliver(ctx context.Context, channel string, seek *orderer.SeekInfo, reader *pki.Identity, receive func(*common.Block) error) error {
	request, err := seekRequest(channel, seek, reader, c.tls)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.service.Deliver(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return receiveBlocks(stream.Recv, receive)
}

// delivered is an answer of an orderer's or a peer's Deliver.
type delivered interface {
	GetBlock() *common.Block
	GetStatus() common.Status
}

// receiveBlocks hands the blocks of a stream to receive, until the node says that it was the last one.
func receiveBlocks[R delivered](next func() (R, error), receive func(*common.Block) error) error {
	for {
		response, err := next()
		if err != nil {
			return err
		}
		if block := response.GetBlock(); block != nil {
			if err := receive(block); err != nil {
				return err
			}
			continue
		}
		switch status := response.GetStatus(); status {
		case common.Status_SUCCESS:
			return nil
		case common.Status_UNKNOWN:
			return fmt.Errorf("unexpected answer %v", response)
		default:
			return &StatusError{status}
		}
	}
}

// seekRequest signs what Deliver is asked for, bound to the caller's TLS certificate.
func seekRequest(channel string, seek *orderer.SeekInfo, reader *pki.Identity, certificate *pki.Credential) (*common.Envelope, error) {
	data, err := proto.Marshal(seek)
	if err != nil {
		return nil, err
	}
	header := Header{Channel: channel, Type: common.HeaderType_DELIVER_SEEK_INFO}
	if certificate != nil {
		header.TLSHash = certificate.TLSHash()
	}
	return Sign(header, data, reader)
}

// Range asks for the blocks from first to last, which the node must have.
func Range(first, last uint64) *orderer.SeekInfo { return stored(At(first), At(last)) }

// stored asks for what a node has, whether or not it can order.
func stored(start, stop *orderer.SeekPosition) *orderer.SeekInfo {
	return &orderer.SeekInfo{
		Start: start, Stop: stop,
		Behavior:      orderer.SeekInfo_FAIL_IF_NOT_READY,
		ErrorResponse: orderer.SeekInfo_BEST_EFFORT,
	}
}

// Blocks reads the blocks from start to stop.
func (c *Client) Blocks(ctx context.Context, channel string, start, stop *orderer.SeekPosition, reader *pki.Identity) ([]*common.Block, error) {
	var blocks []*common.Block
	seek := stored(start, stop)
	err := c.Deliver(ctx, channel, seek, reader, func(block *common.Block) error {
		blocks = append(blocks, block)
		return nil
	})
	return blocks, err
}

// Config reads the configuration in force: that of the block which the newest block names.
func (c *Client) Config(ctx context.Context, channel string, reader *pki.Identity) (*common.Config, error) {
	block, err := c.ConfigBlock(ctx, channel, reader)
	if err != nil {
		return nil, err
	}
	return ConfigOf(block)
}

// ConfigBlock reads the newest config block.
func (c *Client) ConfigBlock(ctx context.Context, channel string, reader *pki.Identity) (*common.Block, error) {
	newest, err := c.Blocks(ctx, channel, Newest, Newest, reader)
	if err != nil {
		return nil, fmt.Errorf("newest block: %w", err)
	}
	number, err := LastConfig(newest[0])
	if err != nil {
		return nil, err
	}
	blocks, err := c.Blocks(ctx, channel, At(number), At(number), reader)
	if err != nil {
		return nil, fmt.Errorf("config block %d: %w", number, err)
	}
	return blocks[0], nil
}

// LastConfig is the number of the config block that a block names in its signed metadata.
func LastConfig(block *common.Block) (uint64, error) {
	metadata, value := &common.Metadata{}, &common.OrdererBlockMetadata{}
	slots := block.GetMetadata().GetMetadata()
	if len(slots) == 0 {
		return 0, errors.New("the block has no metadata")
	}
	if err := proto.Unmarshal(slots[common.BlockMetadataIndex_SIGNATURES], metadata); err != nil {
		return 0, err
	}
	if err := proto.Unmarshal(metadata.Value, value); err != nil {
		return 0, err
	}
	return value.GetLastConfig().GetIndex(), nil
}

// ConfigOf is the configuration in a config block.
func ConfigOf(block *common.Block) (*common.Config, error) {
	if len(block.GetData().GetData()) != 1 {
		return nil, fmt.Errorf("block %d is not a config block", block.GetHeader().GetNumber())
	}
	header, payload, err := Parse(block.Data.Data[0])
	if err != nil {
		return nil, err
	}
	if header.Type != int32(common.HeaderType_CONFIG) {
		return nil, fmt.Errorf("block %d is not a config block", block.Header.Number)
	}
	config := &common.ConfigEnvelope{}
	if err := proto.Unmarshal(payload.Data, config); err != nil {
		return nil, err
	}
	return config.Config, nil
}
