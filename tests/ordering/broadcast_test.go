package ordering

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/network"
	"consilium/tests/ordering/pki"
)

const notWriter = "implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy " +
	"requires 1 of the 'Writers' sub-policies to be satisfied: permission denied"

func TestBroadcastAnswersWithFabricsStatusCodes(t *testing.T) {
	net := network.Start(t, network.Options{AbsoluteMaxBytes: 8 << 10, PreferredMaxBytes: 4 << 10})
	member := net.Application.Client
	stranger := network.NewOrganization(t, "stranger")
	message := func(channel string, kind common.HeaderType, as *pki.Identity) *common.Envelope {
		envelope, err := client.Sign(client.Header{Channel: channel, Type: kind}, []byte("text"), as)
		if err != nil {
			t.Fatal(err)
		}
		return envelope
	}
	payload := func(parts *common.Payload) *common.Envelope {
		encoded, err := proto.Marshal(parts)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := member.Sign(encoded)
		if err != nil {
			t.Fatal(err)
		}
		return &common.Envelope{Payload: encoded, Signature: signature}
	}
	forged := message("records", common.HeaderType_MESSAGE, member)
	forged.Signature = message("records", common.HeaderType_MESSAGE, member).Signature
	unsigned := message("records", common.HeaderType_MESSAGE, member)
	unsigned.Signature = nil
	// Somebody who only claims to be a member: the name is right, the authority is not.
	impostor := &pki.Identity{Credential: stranger.Client.Credential, MSPID: net.Application.MSPID}
	largest, tooLarge := sized(t, net, 8<<10), sized(t, net, 8<<10+1)

	cases := []struct {
		name     string
		envelope *common.Envelope
		status   common.Status
		info     string
	}{
		{"a message of a member", message("records", common.HeaderType_ENDORSER_TRANSACTION, member), common.Status_SUCCESS, ""},
		{"a message of a type that no list knows", message("records", 4711, member), common.Status_SUCCESS, ""},
		{"a message of an orderer's administrator", message("records", common.HeaderType_MESSAGE, net.Orderers[1].Admin), common.Status_SUCCESS, ""},
		{"a message as large as the channel allows", largest, common.Status_SUCCESS, ""},
		{"a message that is one byte larger", tooLarge, common.Status_BAD_REQUEST,
			"message payload is 8193 bytes and exceeds maximum allowed 8192 bytes"},
		{"an empty envelope", &common.Envelope{}, common.Status_BAD_REQUEST, "could not determine channel ID: header not set"},
		{"a payload that is garbage", &common.Envelope{Payload: []byte("garbage"), Signature: []byte("x")},
			common.Status_BAD_REQUEST, "could not determine channel ID: error unmarshalling Payload: …"},
		{"a header without a channel header", payload(&common.Payload{Header: &common.Header{}}),
			common.Status_BAD_REQUEST, "could not determine channel ID: channel header not set"},
		{"a channel header that is garbage", payload(&common.Payload{Header: &common.Header{ChannelHeader: []byte("garbage")}}),
			common.Status_BAD_REQUEST, "could not determine channel ID: error unmarshalling channel header: error unmarshalling ChannelHeader: …"},
		{"a channel that is not there", message("elsewhere", common.HeaderType_MESSAGE, member), common.Status_BAD_REQUEST, "channel does not exist"},
		{"a config message for a channel that is not there", message("elsewhere", common.HeaderType_CONFIG, member), common.Status_BAD_REQUEST, "channel does not exist"},
		{"a config message", message("records", common.HeaderType_CONFIG, member), common.Status_BAD_REQUEST,
			"message is of type that cannot be processed directly"},
		{"a message of the type that once made channels", message("records", 4, member), common.Status_BAD_REQUEST,
			"message is of type that is no longer supported"},
		{"a signer of an organization that is no member", message("records", common.HeaderType_MESSAGE, stranger.Client), common.Status_FORBIDDEN, notWriter},
		{"a signer who only claims to be a member", message("records", common.HeaderType_MESSAGE, impostor), common.Status_FORBIDDEN, notWriter},
		{"a signature of another message", forged, common.Status_FORBIDDEN, notWriter},
		{"no signature", unsigned, common.Status_FORBIDDEN, notWriter},
		{"an expired certificate", message("records", common.HeaderType_MESSAGE, net.Application.Expired(t)), common.Status_BAD_REQUEST,
			"broadcast client identity expired"},
		{"an expired certificate of a stranger", message("records", common.HeaderType_MESSAGE, stranger.Expired(t)), common.Status_BAD_REQUEST,
			"broadcast client identity expired"},
		{"a config update that is garbage", message("records", common.HeaderType_CONFIG_UPDATE, member), common.Status_BAD_REQUEST,
			"error applying config update to existing channel 'records': error converting envelope to config update: …"},
	}
	for _, node := range []*network.Node{net.Leader(t), net.Follower(t)} {
		t.Run("by "+node.Name, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					defer cancel()
					stream, err := node.Dial(t, net.Application).OpenBroadcast(ctx)
					if err != nil {
						t.Fatal(err)
					}
					defer stream.Close()
					response, err := stream.Send(c.envelope)
					if err != nil {
						t.Fatal(err)
					}
					if response.Status != c.status || !matches(response.Info, c.info) {
						t.Errorf("answer %s %q, not %s %q", response.Status, response.Info, c.status, c.info)
					}
					if response.Status == common.Status_SUCCESS {
						// The stream goes on: the same message may even come again.
						if again, err := stream.Send(c.envelope); err != nil || again.Status != common.Status_SUCCESS {
							t.Errorf("the next message on the stream: %v, %v", again, err)
						}
					} else if err := stream.Ended(); err != nil {
						t.Errorf("after a refusal the stream ends with OK, not with %v", err)
					}
				})
			}
		})
	}
	t.Run("none of the refused messages is in the chain", func(t *testing.T) {
		if chain := net.EqualChains(t); chain.Envelopes != 1+2*2*4 {
			t.Errorf("%d envelopes", chain.Envelopes)
		}
	})
	t.Run("a client without a certificate is not served", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if response, err := net.Nodes[0].DialWithout(t).Broadcast(ctx, largest); err == nil {
			t.Errorf("it was answered %s", response.Status)
		}
	})
}

func TestAnOrdererWithoutAMajorityIsUnavailableUntilTheOthersAreBack(t *testing.T) {
	net := network.Start(t, network.Options{})
	for name, choose := range map[string]func(testing.TB) *network.Node{
		"that led": net.Leader, "that followed": net.Follower,
	} {
		t.Run("one "+name, func(t *testing.T) {
			alone := choose(t)
			for _, node := range net.Nodes {
				if node != alone {
					node.Kill()
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			defer cancel()
			envelope, err := client.Message(net.Channel, "to nobody", net.Application.Client)
			if err != nil {
				t.Fatal(err)
			}
			response, err := alone.Dial(t, net.Application).Broadcast(ctx, envelope)
			if err != nil {
				t.Errorf("no answer within 15 seconds: %v", err)
			} else if response.Status != common.Status_SERVICE_UNAVAILABLE {
				t.Errorf("answer %s %q", response.Status, response.Info)
			}
			net.StartAll(t)
			net.Leader(t)
			net.Send(t, alone, "all are back after one "+name)
			net.EqualChains(t)
		})
	}
}

// sized makes a message whose payload and signature have that many bytes together.
func sized(t *testing.T, net *network.Network, size int) *common.Envelope {
	t.Helper()
	// Signatures have one of three lengths; a few tries hit.
	text := strings.Repeat("x", size-1200)
	for range 1000 {
		envelope, err := client.Message(net.Channel, text, net.Application.Client)
		if err != nil {
			t.Fatal(err)
		}
		actual := len(envelope.Payload) + len(envelope.Signature)
		if actual == size {
			return envelope
		}
		if actual > size {
			text = text[:len(text)-(actual-size)]
		} else {
			text += strings.Repeat("x", size-actual)
		}
	}
	t.Fatal("no message of that size")
	return nil
}

// matches compares a text with a pattern that may end with an ellipsis, for what is worded by a
// library.
func matches(text, pattern string) bool {
	if prefix, open := strings.CutSuffix(pattern, "…"); open {
		return strings.HasPrefix(text, prefix)
	}
	return text == pattern
}
