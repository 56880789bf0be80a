package tools_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-config/protolator"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	_ "github.com/hyperledger/fabric-protos-go-apiv2/discovery"
	_ "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	_ "github.com/hyperledger/fabric-protos-go-apiv2/gossip"
	_ "github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	_ "github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	_ "github.com/hyperledger/fabric-protos-go-apiv2/orderer/smartbft"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	_ "github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	_ "github.com/hyperledger/fabric-protos-go-apiv2/transientstore"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	"consilium/tests/go/network"
)

// Our REST server, for the time of a test.
func serve(t *testing.T, both pair, options ...string) string {
	t.Helper()
	port := network.FreePort(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	command := exec.Command(filepath.Join(both.ours, "configtxlator"),
		append([]string{"start", "--hostname", "127.0.0.1", "--port", fmt.Sprint(port)}, options...)...)
	network.Must(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	network.Eventually(t, "configtxlator serves", func() error {
		answer, err := http.Get("http://" + address + "/")
		if err == nil {
			answer.Body.Close()
		}
		return err
	})
	return "http://" + address
}

func post(t *testing.T, url string, body []byte) (int, []byte) {
	t.Helper()
	answer, err := http.Post(url, "application/octet-stream", bytes.NewReader(body))
	network.Must(t, err)
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	network.Must(t, err)
	return answer.StatusCode, content
}

// Gives every field a value; numbers and texts grow so that no two are the same. Bytes in which
// protolator looks for messages stay empty: other tests fill them with messages.
type filler struct{ count int }

var carriers = []string{
	"common.BlockData.data", "common.ConfigSignature.signature_header", "common.ConfigUpdateEnvelope.config_update",
	"common.ConfigUpdate.isolated_data", "common.Envelope.payload", "common.Header.channel_header", "common.Header.signature_header",
	"common.SignatureHeader.creator", "common.Payload.data", "common.ChannelHeader.extension", "common.Policy.value",
	"common.MSPPrincipal.principal", "msp.MSPConfig.config", "orderer.ConsensusType.metadata", "protos.ChaincodeAction.results",
	"protos.ChaincodeAction.events", "protos.ChaincodeActionPayload.chaincode_proposal_payload",
	"protos.ChaincodeEndorsedAction.proposal_response_payload", "protos.ChaincodeProposalPayload.input",
	"protos.ProposalResponsePayload.extension", "protos.TransactionAction.header", "protos.TransactionAction.payload",
	"rwset.NsReadWriteSet.rwset", "rwset.CollectionHashedReadWriteSet.rwset",
	// Only groups of a channel have values that it knows.
	"common.ConfigGroup.values", "common.ConfigGroup.groups",
}

func (f *filler) fill(message protoreflect.Message, choice, depth int) {
	fields := message.Descriptor().Fields()
	if stamp, is := message.Interface().(*timestamppb.Timestamp); is {
		f.count++
		stamp.Seconds, stamp.Nanos = 1_700_000_000+int64(f.count), int32(f.count%3)*1_500_000
		return
	}
	for i := range fields.Len() {
		field := fields.Get(i)
		if slices.Contains(carriers, string(field.FullName())) {
			continue
		}
		if one := field.ContainingOneof(); one != nil && one.Fields().Get(choice%one.Fields().Len()) != field {
			continue
		}
		if depth == 0 && (field.Message() != nil && !field.IsMap() || field.IsMap() && field.MapValue().Message() != nil) {
			continue
		}
		switch {
		case field.IsMap():
			entries := message.Mutable(field).Map()
			for range 3 {
				key := f.scalar(field.MapKey()).MapKey()
				if field.MapValue().Message() != nil {
					f.fill(entries.Mutable(key).Message(), choice, depth-1)
				} else {
					entries.Set(key, f.scalar(field.MapValue()))
				}
			}
		case field.IsList():
			list := message.Mutable(field).List()
			for range 2 {
				if field.Message() != nil {
					f.fill(list.AppendMutable().Message(), choice, depth-1)
				} else {
					list.Append(f.scalar(field))
				}
			}
		case field.Message() != nil:
			f.fill(message.Mutable(field).Message(), choice, depth-1)
		default:
			message.Set(field, f.scalar(field))
		}
	}
}

func (f *filler) scalar(field protoreflect.FieldDescriptor) protoreflect.Value {
	f.count++
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		values := field.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(f.count % values.Len()).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(-f.count))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(1<<31 + uint32(f.count))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(-1<<62 + int64(f.count))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(1<<63 + uint64(f.count))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprintf("<text> & \"%d\" \u2028 ü", f.count))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0xff, byte(f.count), byte(f.count >> 8)})
	}
	panic(field.FullName())
}

// Shows a message by Fabric's protolator and by our server, which have to say the same, and reads it back.
func sameJSON(t *testing.T, url string, message proto.Message) {
	t.Helper()
	name := message.ProtoReflect().Descriptor().FullName()
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	network.Must(t, err)
	var theirs bytes.Buffer
	network.Must(t, protolator.DeepMarshalJSON(&theirs, message))
	code, ours := post(t, fmt.Sprintf("%s/protolator/decode/%s", url, name), encoded)
	if code != http.StatusOK || theirs.String() != string(ours) {
		t.Errorf("%s: %d\n--- Fabric's\n%s--- ours\n%s", name, code, theirs.String(), ours)
		return
	}
	code, back := post(t, fmt.Sprintf("%s/protolator/encode/%s", url, name), ours)
	if code != http.StatusOK || !bytes.Equal(back, encoded) {
		t.Errorf("%s: %d: %x became %x\n%s", name, code, encoded, back, ours)
	}
	again := message.ProtoReflect().New().Interface()
	if err := protolator.DeepUnmarshalJSON(bytes.NewReader(ours), again); err != nil || !proto.Equal(again, message) {
		t.Errorf("%s: Fabric's reads something else in our JSON: %v\n%v\n%v", name, err, again, message)
	}
}

func TestEveryMessageOfFabricIsTheSameJSONAndTheSameBytesAgain(t *testing.T) {
	url := serve(t, programs(t))
	seen := 0
	protoregistry.GlobalTypes.RangeMessages(func(kind protoreflect.MessageType) bool {
		file := kind.Descriptor().ParentFile().Path()
		if kind.Descriptor().IsMapEntry() || !slices.ContainsFunc([]string{
			"common/", "discovery/", "gateway/", "gossip/", "ledger/", "msp/", "orderer/", "peer/", "transientstore/",
		}, func(folder string) bool { return strings.HasPrefix(file, folder) }) {
			return true
		}
		seen++
		sameJSON(t, url, kind.New().Interface())
		variants := 1
		for i := range kind.Descriptor().Oneofs().Len() {
			variants = max(variants, kind.Descriptor().Oneofs().Get(i).Fields().Len())
		}
		for choice := range variants {
			message := kind.New()
			(&filler{}).fill(message, choice, 3)
			sameJSON(t, url, message.Interface())
		}
		return true
	})
	if seen < 200 {
		t.Errorf("only %d messages were found", seen)
	}
}

func bytesOf(t *testing.T, message proto.Message) []byte {
	t.Helper()
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	network.Must(t, err)
	return encoded
}

// Transactions and updates, with everything that lies in each other.
func TestMessagesInMessagesAreShownAsFabricShowsThem(t *testing.T) {
	url := serve(t, programs(t))
	identity := bytesOf(t, &msp.SerializedIdentity{Mspid: "Org1MSP", IdBytes: []byte("certificate")})
	signature := &common.SignatureHeader{Creator: identity, Nonce: []byte("nonce")}
	envelope := func(kind common.HeaderType, extension, data []byte) *common.Envelope {
		return &common.Envelope{Signature: []byte("signature"), Payload: bytesOf(t, &common.Payload{
			Header: &common.Header{
				ChannelHeader: bytesOf(t, &common.ChannelHeader{
					Type: int32(kind), ChannelId: "health", TxId: "tx", Timestamp: timestamppb.Now(), Extension: extension,
				}),
				SignatureHeader: bytesOf(t, signature),
			},
			Data: data,
		})}
	}
	hashed := bytesOf(t, &kvrwset.HashedRWSet{HashedWrites: []*kvrwset.KVWriteHash{{KeyHash: []byte("k"), ValueHash: []byte("v")}}})
	results := bytesOf(t, &rwset.TxReadWriteSet{NsRwset: []*rwset.NsReadWriteSet{
		{
			Namespace: "kv", Rwset: bytesOf(t, &kvrwset.KVRWSet{
				Reads:  []*kvrwset.KVRead{{Key: "a", Version: &kvrwset.Version{BlockNum: 7, TxNum: 1}}, {Key: "b"}},
				Writes: []*kvrwset.KVWrite{{Key: "a", Value: []byte{0, 255}}, {Key: "b", IsDelete: true}},
				RangeQueriesInfo: []*kvrwset.RangeQueryInfo{{StartKey: "a", ReadsInfo: &kvrwset.RangeQueryInfo_RawReads{
					RawReads: &kvrwset.QueryReads{KvReads: []*kvrwset.KVRead{{Key: "c"}}},
				}}},
			}),
			CollectionHashedRwset: []*rwset.CollectionHashedReadWriteSet{{CollectionName: "secret", HashedRwset: hashed, PvtRwsetHash: []byte("hash")}},
		},
		{Namespace: "empty"},
	}})
	input := bytesOf(t, &peer.ChaincodeInvocationSpec{ChaincodeSpec: &peer.ChaincodeSpec{
		ChaincodeId: &peer.ChaincodeID{Name: "kv"}, Input: &peer.ChaincodeInput{Args: [][]byte{[]byte("put"), {}}, Decorations: map[string][]byte{"b": {1}, "a": nil}},
	}})
	action := bytesOf(t, &peer.ChaincodeAction{
		Results: results, Events: bytesOf(t, &peer.ChaincodeEvent{EventName: "put", Payload: []byte("{}")}),
		Response: &peer.Response{Status: 200}, ChaincodeId: &peer.ChaincodeID{Name: "kv", Version: "1"},
	})
	transaction := bytesOf(t, &peer.Transaction{Actions: []*peer.TransactionAction{{
		Header: bytesOf(t, signature),
		Payload: bytesOf(t, &peer.ChaincodeActionPayload{
			ChaincodeProposalPayload: bytesOf(t, &peer.ChaincodeProposalPayload{Input: input}),
			Action: &peer.ChaincodeEndorsedAction{
				ProposalResponsePayload: bytesOf(t, &peer.ProposalResponsePayload{ProposalHash: []byte("hash"), Extension: action}),
				Endorsements:            []*peer.Endorsement{{Endorser: identity, Signature: []byte("signature")}},
			},
		}),
	}}})
	extension := bytesOf(t, &peer.ChaincodeHeaderExtension{ChaincodeId: &peer.ChaincodeID{Name: "kv"}})
	group := &common.ConfigGroup{
		Version: 3, ModPolicy: "Admins",
		Values: map[string]*common.ConfigValue{"Capabilities": {Value: bytesOf(t, &common.Capabilities{Capabilities: map[string]*common.Capability{"V3_0": {}, "V2_0": {}}})}},
		Groups: map[string]*common.ConfigGroup{"Orderer": {
			Values: map[string]*common.ConfigValue{
				"BatchTimeout":  {Version: 2, Value: bytesOf(t, &orderer.BatchTimeout{Timeout: "2s"})},
				"ConsensusType": {Value: bytesOf(t, &orderer.ConsensusType{Type: "solo"})},
				"Empty":         {},
			},
			Groups: map[string]*common.ConfigGroup{"Org": {}},
		}},
	}
	update := bytesOf(t, &common.ConfigUpdateEnvelope{
		ConfigUpdate: bytesOf(t, &common.ConfigUpdate{ChannelId: "health", ReadSet: group, WriteSet: group}),
		Signatures:   []*common.ConfigSignature{{SignatureHeader: bytesOf(t, signature), Signature: []byte("signature")}},
	})
	inner := envelope(common.HeaderType_CONFIG_UPDATE, nil, update)
	sameJSON(t, url, inner)
	sameJSON(t, url, &common.Block{
		Header: &common.BlockHeader{Number: 1 << 60, PreviousHash: []byte("previous")},
		Data: &common.BlockData{Data: [][]byte{
			bytesOf(t, envelope(common.HeaderType_ENDORSER_TRANSACTION, extension, transaction)),
			bytesOf(t, envelope(common.HeaderType_CONFIG, nil, bytesOf(t, &common.ConfigEnvelope{Config: &common.Config{Sequence: 5, ChannelGroup: group}, LastUpdate: inner}))),
			bytesOf(t, envelope(common.HeaderType_ORDERER_TRANSACTION, nil, bytesOf(t, inner))),
			bytesOf(t, envelope(common.HeaderType_MESSAGE, nil, bytesOf(t, &common.ConfigValue{Value: []byte("plain")}))),
		}},
		Metadata: &common.BlockMetadata{Metadata: [][]byte{{1, 2}, {}}},
	})
	for classification, principal := range map[msp.MSPPrincipal_Classification]proto.Message{
		msp.MSPPrincipal_ROLE:              &msp.MSPRole{MspIdentifier: "Org1MSP", Role: msp.MSPRole_PEER},
		msp.MSPPrincipal_ORGANIZATION_UNIT: &msp.OrganizationUnit{MspIdentifier: "Org1MSP"},
		msp.MSPPrincipal_IDENTITY:          &msp.SerializedIdentity{Mspid: "Org1MSP"},
	} {
		sameJSON(t, url, &msp.MSPPrincipal{PrincipalClassification: classification, Principal: bytesOf(t, principal)})
	}
}

// What cannot be shown or read is refused by both.
func TestWhatFabricRefusesOursRefuses(t *testing.T) {
	both := programs(t)
	folder := t.TempDir()
	for name, content := range map[string][]byte{
		"nothing": {}, "garbage": []byte("\x0a\xffgarbage"), "text": []byte("no json"), "list": []byte("[]"), "empty.json": []byte("{}"),
		"kind.pb":      bytesOf(t, &common.Envelope{Payload: bytesOf(t, &common.Payload{Header: &common.Header{ChannelHeader: bytesOf(t, &common.ChannelHeader{Type: 5})}, Data: []byte{8, 1}})}),
		"header.pb":    bytesOf(t, &common.Payload{Data: []byte{8, 1}}),
		"extension.pb": bytesOf(t, &common.ChannelHeader{Extension: []byte{8, 1}}),
		"policy.pb":    bytesOf(t, &common.Policy{Type: 2, Value: []byte{8, 1}}),
		"group.pb":     bytesOf(t, &common.Config{ChannelGroup: &common.ConfigGroup{Groups: map[string]*common.ConfigGroup{"Other": {}}}}),
		"value.pb":     bytesOf(t, &common.Config{ChannelGroup: &common.ConfigGroup{Values: map[string]*common.ConfigValue{"Other": {Value: []byte{8, 1}}}}}),
		"isolated.pb":  bytesOf(t, &common.ConfigUpdate{IsolatedData: map[string][]byte{"a": {1}}}),
		"unknown.json": []byte(`{"chanel_id": "x"}`), "number.json": []byte(`{"sequence": "many"}`), "base64.json": []byte(`{"nonce": "?"}`),
		"camel.json": []byte(`{"channelId": "health", "readSet": null, "type": 0}`), "null.json": []byte(`{"channel_group": null, "sequence": null}`),
		"string.json": []byte(`{"channel_group": "x"}`), "map.json": []byte(`{"channel_group": {"groups": []}}`),
	} {
		write(t, filepath.Join(folder, name), string(content))
	}
	for _, line := range []string{
		"proto_decode --type common.Nothing --input nothing", "proto_decode --type common.Block --input nothing",
		"proto_decode --type common.Block --input garbage", "proto_decode --type common.Block --input absent", "proto_decode --input nothing",
		"proto_decode --type common.Envelope --input kind.pb", "proto_decode --type common.Payload --input header.pb",
		"proto_decode --type common.ChannelHeader --input extension.pb", "proto_decode --type common.Policy --input policy.pb",
		"proto_decode --type common.Config --input group.pb", "proto_decode --type common.Config --input value.pb",
		"proto_decode --type common.ConfigUpdate --input isolated.pb",
		"proto_encode --type common.Nothing --input empty.json", "proto_encode --type common.Config --input empty.json",
		"proto_encode --type common.Config --input nothing", "proto_encode --type common.Config --input text", "proto_encode --type common.Config --input list",
		"proto_encode --type common.ConfigUpdate --input unknown.json", "proto_encode --type common.Config --input number.json",
		"proto_encode --type common.SignatureHeader --input base64.json", "proto_encode --type common.ConfigUpdate --input camel.json",
		"proto_encode --type common.Config --input null.json", "proto_encode --type common.Config --input string.json",
		"proto_encode --type common.Config --input map.json",
		"compute_update --channel_id x", "compute_update --original nothing --updated nothing",
		"compute_update --channel_id x --original nothing --updated nothing", "compute_update --channel_id x --original garbage --updated nothing",
		"compute_update --channel_id x --original absent --updated nothing", "nonsense", "start --nonsense", "proto_decode extra",
	} {
		// How each names the place in a document differs.
		ownWords := "error decoding input: "
		if strings.HasPrefix(line, "proto_decode") {
			ownWords = "error encoding output: "
		} else if line == "compute_update --channel_id x" {
			ownWords = "error reading original config: "
		} else if strings.Contains(line, "garbage") {
			ownWords = "error unmarshalling"
		}
		both.both(t, folder, "configtxlator", ownWords, strings.Fields(line)...)
	}
}

func TestTheServerAnswersAsFabrics(t *testing.T) {
	both := programs(t)
	url := serve(t, both, "--CORS", "https://page.example.com", "--CORS", "https://other.example.com")
	group := func(version uint64, policy string) *common.Config {
		return &common.Config{ChannelGroup: &common.ConfigGroup{Version: version, ModPolicy: policy}}
	}
	compute := func(fields map[string][]byte) (int, []byte) {
		body := &bytes.Buffer{}
		form := multipart.NewWriter(body)
		for name, content := range fields {
			if name == "channel" {
				network.Must(t, form.WriteField(name, string(content)))
				continue
			}
			part, err := form.CreateFormFile(name, name+".pb")
			network.Must(t, err)
			_, err = part.Write(content)
			network.Must(t, err)
		}
		network.Must(t, form.Close())
		answer, err := http.Post(url+"/configtxlator/compute/update-from-configs", form.FormDataContentType(), body)
		network.Must(t, err)
		defer answer.Body.Close()
		content, err := io.ReadAll(answer.Body)
		network.Must(t, err)
		return answer.StatusCode, content
	}
	one, other := bytesOf(t, group(1, "Admins")), bytesOf(t, group(1, "Writers"))
	code, content := compute(map[string][]byte{"original": one, "updated": other, "channel": []byte("health")})
	update := &common.ConfigUpdate{}
	network.Must(t, proto.Unmarshal(content, update))
	if code != http.StatusOK || update.ChannelId != "health" || update.WriteSet.Version != 2 || update.WriteSet.ModPolicy != "Writers" {
		t.Errorf("%d %v", code, update)
	}
	for text, fields := range map[string]map[string][]byte{
		"Error computing update: no differences detected between original and updated config\n": {"original": one, "updated": one},
		"Error with field 'updated': error reading field bytes: http: no such file\n":           {"original": one},
		"Error with field 'original': error reading field bytes: http: no such file\n":          {"updated": one},
	} {
		if code, content := compute(fields); code != http.StatusBadRequest || string(content) != text {
			t.Errorf("%d %q, not %q", code, content, text)
		}
	}
	for path, want := range map[string]int{
		"/protolator/decode/common.Nothing": 404, "/protolator/encode/common.Nothing": 404, "/protolator/encode/common.Block": 400,
		"/configtxlator/compute/update-from-configs": 400, "/nowhere": 404,
	} {
		if code, content := post(t, url+path, []byte("x")); code != want {
			t.Errorf("%s: %d %s", path, code, content)
		}
	}
	answer, err := http.Get(url + "/protolator/decode/common.Block")
	network.Must(t, err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", answer.StatusCode)
	}
	for origin, allowed := range map[string]string{"https://page.example.com": "https://page.example.com", "https://evil.example.com": ""} {
		request, err := http.NewRequest(http.MethodOptions, url+"/protolator/decode/common.Block", nil)
		network.Must(t, err)
		request.Header.Set("Origin", origin)
		request.Header.Set("Access-Control-Request-Method", "POST")
		answer, err := http.DefaultClient.Do(request)
		network.Must(t, err)
		answer.Body.Close()
		if found := answer.Header.Get("Access-Control-Allow-Origin"); found != allowed {
			t.Errorf("%s: %q", origin, found)
		}
	}
	// Messages that lie endlessly in each other are refused, and the server lives.
	nested := []byte{}
	for range 3000 {
		header := bytesOf(t, &common.ChannelHeader{Type: 4})
		nested = bytesOf(t, &common.Envelope{Payload: bytesOf(t, &common.Payload{Header: &common.Header{ChannelHeader: header}, Data: nested})})
	}
	if code, content := post(t, url+"/protolator/decode/common.Envelope", nested); code != http.StatusBadRequest || !strings.Contains(string(content), "too deep") {
		t.Errorf("%d %.200s", code, content)
	}
}
