package tools_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	"github.com/hyperledger/fabric-config/protolator"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"consilium/tests/go/network"
)

// A folder with Fabric's sample of configtx.yaml, changed so that its certificates exist, and one of our own.
func configurations(t *testing.T, both pair) (string, string) {
	t.Helper()
	printed, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/hyperledger/fabric").Output()
	network.Must(t, err)
	sample := filepath.Join(strings.TrimSpace(string(printed)), "sampleconfig")
	folder := t.TempDir()
	write(t, filepath.Join(folder, "crypto.yaml"), organizations)
	do(t, folder, filepath.Join(both.ours, "cryptogen"), "generate", "--config", "crypto.yaml", "--output", "crypto")
	node := "crypto/ordererOrganizations/example.com/orderers/orderer.example.com"
	text := string(read(t, filepath.Join(sample, "configtx.yaml")))
	text = strings.ReplaceAll(text, "MSPDir: msp", "MSPDir: "+filepath.Join(sample, "msp"))
	for i := range 4 {
		text = strings.ReplaceAll(text, fmt.Sprintf("path/to/ClientTLSCert%d", i), node+"/tls/server.crt")
		text = strings.ReplaceAll(text, fmt.Sprintf("path/to/ServerTLSCert%d", i), node+"/tls/server.crt")
	}
	text = strings.ReplaceAll(text, "/path/to/identity", node+"/msp/signcerts/orderer.example.com-cert.pem")
	samples := filepath.Join(folder, "samples")
	write(t, filepath.Join(samples, "configtx.yaml"), strings.ReplaceAll(text, "crypto/", filepath.Join(folder, "crypto")+"/"))
	write(t, filepath.Join(folder, "configtx.yaml"), own)
	return samples, folder
}

const own = `
Organizations:
  - &Orderer
    Name: OrdererOrg
    ID: OrdererMSP
    MSPDir: crypto/ordererOrganizations/example.com/msp
    OrdererEndpoints: [localhost:7050, "orderer.example.com:7050"]
    Policies: &OrdererPolicies
      Readers: {Type: Signature, Rule: "OR('OrdererMSP.member')"}
      Writers: {Type: Signature, Rule: "OR('OrdererMSP.member')"}
      Admins: {Type: Signature, Rule: "OR('OrdererMSP.admin')"}
  - &Org1
    Name: Org1
    ID: Org1MSP
    MSPDir: crypto/peerOrganizations/org1.example.com/msp
    AnchorPeers: [{Host: peer0.org1.example.com, Port: 7051}, {Host: "::1", Port: 8051}]
    Policies:
      Readers: {Type: Signature, Rule: "OR('Org1MSP.admin', 'Org1MSP.peer', 'Org1MSP.client')"}
      Writers: {Type: Signature, Rule: "OutOf(1, 'Org1MSP.admin', AND('Org1MSP.client', 'Org1MSP.peer'))"}
      Admins: {Type: Signature, Rule: "OR('Org1MSP.admin')"}
      Endorsement: {Type: Signature, Rule: "OR('Org1MSP.peer')"}
  - &Org2
    <<: *Org1
    Name: Org2
    ID: Org2MSP
    MSPDir: crypto/peerOrganizations/org2.example.com/msp
    AnchorPeers:
Channel: &Channel
  Policies: &Usual
    Readers: {Type: ImplicitMeta, Rule: ANY Readers}
    Writers: {Type: ImplicitMeta, Rule: ANY Writers}
    Admins: {Type: ImplicitMeta, Rule: MAJORITY Admins}
  Capabilities: {V3_0: true, V2_0: false}
Profiles:
  Two:
    <<: *Channel
    orderer:
      OrdererType: etcdraft
      BatchTimeout: 1m30s
      BatchSize: {AbsoluteMaxBytes: 512 KB, MaxMessageCount: 7}
      EtcdRaft:
        Consenters:
          - &Node
            Host: localhost
            Port: 7050
            ClientTLSCert: crypto/ordererOrganizations/example.com/orderers/orderer.example.com/tls/server.crt
            ServerTLSCert: crypto/ordererOrganizations/example.com/orderers/orderer.example.com/tls/server.crt
        Options: {ElectionTick: 20}
      Organizations: [*Orderer]
      Policies:
        <<: *Usual
        BlockValidation: {Type: ImplicitMeta, Rule: ANY Writers}
      Capabilities: {V2_0: true}
    Application:
      ACLs: {peer/Propose: /Channel/Application/Writers, event/Block: /Channel/Application/Readers}
      Organizations: [*Org1, *Org2]
      Policies:
        <<: *Usual
        Endorsement: {Type: ImplicitMeta, Rule: MAJORITY Endorsement}
        LifecycleEndorsement: {Type: ImplicitMeta, Rule: ALL Endorsement}
      Capabilities: {V2_5: true}
  Incomplete:
    <<: *Channel
  NoConsenter:
    <<: *Channel
    Orderer: {OrdererType: etcdraft, EtcdRaft: {}}
  Kafka:
    <<: *Channel
    Orderer: {OrdererType: kafka}
  BadRule:
    Policies:
      <<: *Usual
      Admins: {Type: Signature, Rule: "OR("}
  NoAdmins:
    Policies: {Readers: {Type: ImplicitMeta, Rule: ANY Readers}}
  NoEndpoints:
    <<: *Channel
    Orderer:
      OrdererType: solo
      Policies: {<<: *Usual, BlockValidation: {Type: ImplicitMeta, Rule: ANY Writers}}
      Organizations: [{<<: *Orderer, OrdererEndpoints: []}]
  NoFolder:
    <<: *Channel
    Application:
      Policies: *Usual
      Organizations: [{<<: *Org1, MSPDir: nowhere}]
`

// The configuration in a genesis block, and the block without what differs from one run to the next.
func configIn(t *testing.T, file string) (*common.Config, *common.Block) {
	t.Helper()
	block := &common.Block{}
	network.Must(t, proto.Unmarshal(read(t, file), block))
	envelope, payload, config := &common.Envelope{}, &common.Payload{}, &common.ConfigEnvelope{}
	network.Must(t, proto.Unmarshal(block.Data.Data[0], envelope))
	network.Must(t, proto.Unmarshal(envelope.Payload, payload))
	network.Must(t, proto.Unmarshal(payload.Data, config))
	header := &common.ChannelHeader{}
	network.Must(t, proto.Unmarshal(payload.Header.ChannelHeader, header))
	if age := time.Since(header.Timestamp.AsTime()); age < -time.Minute || age > 10*time.Minute || header.Timestamp.Nanos != 0 {
		t.Errorf("%s: timestamp %v", file, header.Timestamp)
	}
	header.Timestamp, header.TxId = nil, fmt.Sprint(len(header.TxId))
	var err error
	payload.Header.ChannelHeader, err = proto.Marshal(header)
	network.Must(t, err)
	payload.Header.SignatureHeader = nil
	envelope.Payload, err = proto.Marshal(payload)
	network.Must(t, err)
	block.Data.Data[0], err = proto.Marshal(envelope)
	network.Must(t, err)
	block.Header.DataHash = nil
	return config.Config, block
}

func shown(t *testing.T, message proto.Message) string {
	t.Helper()
	var out strings.Builder
	network.Must(t, protolator.DeepMarshalJSON(&out, message))
	return out.String()
}

func TestBlocksOfConfigtxgenAreThoseOfFabrics(t *testing.T) {
	both := programs(t)
	samples, folder := configurations(t, both)
	for _, at := range []struct {
		folder, profile string
		variables       []string
	}{
		{folder, "Two", nil},
		{folder, "Two", []string{
			"CONFIGTX_PROFILES_TWO_ORDERER_BATCHTIMEOUT=7s", "CONFIGTX_PROFILES_TWO_ORDERER_BATCHSIZE_MAXMESSAGECOUNT=9",
			"CONFIGTX_PROFILES_TWO_ORDERER_BATCHSIZE_ABSOLUTEMAXBYTES=3 MB", "CONFIGTX_ORDERER_BATCHTIMEOUT=8s",
		}},
		{samples, "SampleDevModeSolo", nil},
		{samples, "SampleSingleMSPSolo", nil},
		{samples, "SampleInsecureSolo", nil},
		{samples, "SampleDevModeEtcdRaft", nil},
		{samples, "SampleAppChannelInsecureSolo", nil},
		{samples, "SampleAppChannelEtcdRaft", nil},
		{samples, "SampleAppChannelSmartBft", nil},
	} {
		var blocks [2]*common.Block
		var configs [2]*common.Config
		for i, program := range []string{both.theirs, both.ours} {
			file := filepath.Join(t.TempDir(), "new", "block")
			done := run(t, at.folder, filepath.Join(program, "configtxgen"), append(at.variables, "FABRIC_CFG_PATH="+at.folder),
				"-profile", at.profile, "--channelID=health", "-outputBlock="+file)
			if done.code != 0 {
				t.Fatalf("%s %s: %v", program, at.profile, done)
			}
			configs[i], blocks[i] = configIn(t, file)
			if mode := files(t, filepath.Dir(file))["block"]; mode != 0o640 {
				t.Errorf("%s: %v", program, mode)
			}
		}
		// Fabric writes maps in values, such as that of ACLs, in any order.
		if differ := difference(shown(t, configs[0]), shown(t, configs[1])); differ != "" {
			t.Errorf("%s %v\n%s", at.profile, at.variables, differ)
		}
		if !proto.Equal(blocks[0].Metadata, blocks[1].Metadata) || !proto.Equal(blocks[0].Header, blocks[1].Header) {
			t.Errorf("%s\n--- Fabric's\n%v %v\n--- ours\n%v %v", at.profile, blocks[0].Header, blocks[0].Metadata, blocks[1].Header, blocks[1].Metadata)
		}
	}
}

// github.com/hyperledger/fabric-config finds in our block what configtx.yaml says.
func TestOurBlockIsReadByFabricConfig(t *testing.T) {
	both := programs(t)
	_, folder := configurations(t, both)
	file := filepath.Join(folder, "health.block")
	do(t, folder, filepath.Join(both.ours, "configtxgen"), "-profile", "Two", "-channelID", "health", "-outputBlock", file, "-configPath", folder)
	config, _ := configIn(t, file)
	tree := configtx.New(config)
	orderer, err := tree.Orderer().Configuration()
	network.Must(t, err)
	if orderer.BatchTimeout != 90*time.Second || orderer.BatchSize.MaxMessageCount != 7 || orderer.BatchSize.AbsoluteMaxBytes != 512<<10 ||
		orderer.BatchSize.PreferredMaxBytes != 2<<20 || len(orderer.EtcdRaft.Consenters) != 1 || orderer.EtcdRaft.Options.ElectionTick != 20 {
		t.Errorf("%+v", orderer)
	}
	application, err := tree.Application().Configuration()
	network.Must(t, err)
	if len(application.Organizations) != 2 || application.ACLs["peer/Propose"] != "/Channel/Application/Writers" {
		t.Errorf("%+v", application)
	}
	anchors, err := tree.Application().Organization("Org1").AnchorPeers()
	network.Must(t, err)
	msp, err := tree.Application().Organization("Org1").MSP().Configuration()
	network.Must(t, err)
	if len(anchors) != 2 || anchors[0].Port != 7051 || msp.Name != "Org1MSP" || len(msp.RootCerts) != 1 || !msp.NodeOUs.Enable {
		t.Errorf("%v %+v", anchors, msp)
	}
	// What fabric-config changes becomes an update that our configtxlator computes, too.
	network.Must(t, tree.Orderer().SetBatchTimeout(5*time.Second))
	update, err := tree.ComputeMarshaledUpdate("health")
	network.Must(t, err)
	original, err := proto.Marshal(tree.OriginalConfig())
	network.Must(t, err)
	updated, err := proto.Marshal(tree.UpdatedConfig())
	network.Must(t, err)
	computed := do(t, folder, filepath.Join(both.ours, "configtxlator"), "compute_update", "--channel_id", "health",
		"--original", write(t, filepath.Join(folder, "original.pb"), string(original)),
		"--updated", write(t, filepath.Join(folder, "updated.pb"), string(updated)))
	one, other := &common.ConfigUpdate{}, &common.ConfigUpdate{}
	network.Must(t, proto.Unmarshal(update, one))
	network.Must(t, proto.Unmarshal([]byte(computed), other))
	if !proto.Equal(one, other) {
		t.Errorf("--- fabric-config\n%v\n--- ours\n%v", one, other)
	}
}

func TestWhatConfigtxgenPrintsAndHowItEndsAreAsFabrics(t *testing.T) {
	both := programs(t)
	samples, folder := configurations(t, both)
	block := filepath.Join(folder, "b.block")
	do(t, folder, filepath.Join(both.theirs, "configtxgen"), "-profile", "Two", "-channelID", "health", "-outputBlock", block, "-configPath", folder)
	creation := filepath.Join(folder, "create.tx")
	do(t, folder, filepath.Join(both.theirs, "configtxgen"), "-profile", "SampleSingleMSPChannel", "-channelID", "health", "-outputCreateChannelTx", creation, "-configPath", samples)
	shown := both.both(t, folder, "configtxgen", "", "-inspectBlock", block)
	if !json.Valid([]byte(shown.out)) || !strings.Contains(shown.out, `"msp_identifier": "Org1MSP"`) {
		t.Errorf("%v", shown)
	}
	both.both(t, folder, "configtxgen", "", "-inspectChannelCreateTx", creation)
	for _, org := range []string{"OrdererOrg", "Org1", "Org2"} {
		both.both(t, folder, "configtxgen", "", "-printOrg", org, "-configPath", folder)
	}
	both.both(t, folder, "configtxgen", "", "-printOrg", "SampleOrg", "-configPath", samples)
	for _, line := range []string{
		"", "extra", "-nonsense", "--nonsense", "-profile", "-outputBlock x", "-outputBlock x -channelID c",
		"-outputBlock x -channelID c -profile Nobody -configPath .",
		"-inspectBlock /absent", "-inspectBlock configtx.yaml", "-inspectChannelCreateTx absent", "-printOrg Nobody -configPath .",
		"-outputBlock x -channelID c -configPath . -profile Incomplete",
		"-outputBlock x -channelID c -configPath . -profile NoConsenter",
		"-outputBlock x -channelID c -configPath . -profile Kafka",
		"-outputBlock x -channelID c -configPath . -profile NoAdmins",
		"-outputBlock x -channelID c -configPath . -profile NoEndpoints",
		"-outputCreateChannelTx x -channelID c -configPath . -profile Two",
	} {
		both.both(t, folder, "configtxgen", "", strings.Fields(line)...)
	}
	for line, ownWords := range map[string]string{
		"-outputBlock x -channelID c -configPath . -profile BadRule":  "invalid signature policy rule 'OR('",
		"-outputBlock x -channelID c -configPath . -profile NoFolder": "Error loading MSP configuration for org",
		"-outputBlock x -channelID c -configPath /absent -profile x":  "Error reading configuration",
	} {
		both.both(t, folder, "configtxgen", ownWords, strings.Fields(line)...)
	}
	write(t, filepath.Join(folder, "unknown", "configtx.yaml"), "Profiles: {One: {Orderr: {}}}")
	for _, program := range []string{both.theirs, both.ours} {
		refused := run(t, folder, filepath.Join(program, "configtxgen"), nil, strings.Fields("-outputBlock x -channelID c -profile One -configPath unknown")...)
		if refused.code != 2 || !strings.Contains(refused.said, "has invalid keys") || !strings.Contains(refused.said, "Orderr") {
			t.Errorf("%s: %v", program, refused)
		}
	}
}

func TestCreationTransactionsAreThoseOfFabrics(t *testing.T) {
	both := programs(t)
	samples, _ := configurations(t, both)
	for _, options := range [][]string{nil, {"-channelCreateTxBaseProfile", "SampleSingleMSPSolo"}} {
		var made [2]*common.ConfigUpdate
		for i, program := range []string{both.theirs, both.ours} {
			file := filepath.Join(t.TempDir(), "create.tx")
			do(t, samples, filepath.Join(program, "configtxgen"), append([]string{
				"-profile", "SampleSingleMSPChannel", "-channelID", "health", "-outputCreateChannelTx", file, "-configPath", ".",
			}, options...)...)
			envelope, payload, update := &common.Envelope{}, &common.Payload{}, &common.ConfigUpdateEnvelope{}
			network.Must(t, proto.Unmarshal(read(t, file), envelope))
			network.Must(t, proto.Unmarshal(envelope.Payload, payload))
			network.Must(t, proto.Unmarshal(payload.Data, update))
			made[i] = &common.ConfigUpdate{}
			network.Must(t, proto.Unmarshal(update.ConfigUpdate, made[i]))
			header := &common.ChannelHeader{}
			network.Must(t, proto.Unmarshal(payload.Header.ChannelHeader, header))
			if header.Type != int32(common.HeaderType_CONFIG_UPDATE) || header.ChannelId != "health" || len(payload.Header.SignatureHeader) != 0 || len(update.Signatures) != 0 {
				t.Errorf("%s: %v", program, header)
			}
		}
		if differ := difference(shown(t, made[0]), shown(t, made[1])); differ != "" {
			t.Errorf("%v\n%s", options, differ)
		}
	}
}
