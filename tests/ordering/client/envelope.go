// Package client speaks the ordering service's two gRPC calls, Broadcast and Deliver, with Fabric's
// generated types.
package client

import (
	"crypto/rand"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"consilium/tests/ordering/pki"
)

// Header describes an envelope.
type Header struct {
	Channel string
	Type    common.HeaderType
	// TLSHash binds the envelope to a TLS client certificate; Deliver needs it.
	TLSHash []byte
}

// Sign makes a signed envelope around data.
func Sign(header Header, data []byte, signer *pki.Identity) (*common.Envelope, error) {
	creator, err := signer.Serialized()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, 24)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	channelHeader, err := proto.Marshal(&common.ChannelHeader{
		Type:        int32(header.Type),
		ChannelId:   header.Channel,
		Timestamp:   timestamppb.Now(),
		TlsCertHash: header.TLSHash,
	})
	if err != nil {
		return nil, err
	}
	signatureHeader, err := proto.Marshal(&common.SignatureHeader{Creator: creator, Nonce: nonce})
	if err != nil {
		return nil, err
	}
	payload, err := proto.Marshal(&common.Payload{
		Header: &common.Header{ChannelHeader: channelHeader, SignatureHeader: signatureHeader},
		Data:   data,
	})
	if err != nil {
		return nil, err
	}
	signature, err := signer.Sign(payload)
	if err != nil {
		return nil, err
	}
	return &common.Envelope{Payload: payload, Signature: signature}, nil
}

// Message makes an ordinary envelope of a channel.
func Message(channel, text string, signer *pki.Identity) (*common.Envelope, error) {
	return Sign(Header{Channel: channel, Type: common.HeaderType_ENDORSER_TRANSACTION}, []byte(text), signer)
}

// Parse takes an envelope apart.
func Parse(envelope []byte) (*common.ChannelHeader, *common.Payload, error) {
	outer, payload, header := &common.Envelope{}, &common.Payload{}, &common.ChannelHeader{}
	if err := proto.Unmarshal(envelope, outer); err != nil {
		return nil, nil, fmt.Errorf("envelope: %w", err)
	}
	if err := proto.Unmarshal(outer.Payload, payload); err != nil {
		return nil, nil, fmt.Errorf("payload: %w", err)
	}
	if err := proto.Unmarshal(payload.GetHeader().GetChannelHeader(), header); err != nil {
		return nil, nil, fmt.Errorf("channel header: %w", err)
	}
	return header, payload, nil
}
