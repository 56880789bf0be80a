package verify_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-config/configtx"
	"github.com/hyperledger/fabric-config/configtx/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"google.golang.org/protobuf/proto"

	"consilium/tests/ordering/client"
	"consilium/tests/ordering/network"
	"consilium/tests/ordering/pki"
	"consilium/tests/ordering/verify"
)

// A chain of one organization's only orderer, made by hand.
type chain struct {
	t       *testing.T
	genesis *common.Block
	node    *pki.Identity
	member  *pki.Identity
}

func newChain(t *testing.T) chain {
	t.Helper()
	organization := network.NewOrganization(t, "north")
	config := organization.Config()
	config.OrdererEndpoints = []string{"localhost:7050"}
	policies := map[string]configtx.Policy{}
	for _, name := range []string{"Readers", "Writers", "Admins", "BlockValidation", "Endorsement", "LifecycleEndorsement"} {
		policies[name] = configtx.Policy{Type: configtx.ImplicitMetaPolicyType, Rule: "ANY Writers"}
	}
	certificate := organization.TLS(t, "node", "localhost").Cert
	genesis, err := configtx.NewApplicationChannelGenesisBlock(configtx.Channel{
		Capabilities: []string{"V2_0"}, Policies: policies,
		Application: configtx.Application{
			Organizations: []configtx.Organization{config}, Capabilities: []string{"V2_5"}, Policies: policies,
		},
		Orderer: configtx.Orderer{
			OrdererType: orderer.ConsensusTypeEtcdRaft, State: orderer.ConsensusStateNormal,
			Organizations: []configtx.Organization{config}, Capabilities: []string{"V2_0"}, Policies: policies,
			EtcdRaft: orderer.EtcdRaft{Consenters: []orderer.Consenter{{
				Address: orderer.EtcdAddress{Host: "localhost", Port: 7050}, ClientTLSCert: certificate, ServerTLSCert: certificate,
			}}},
		},
	}, "records")
	check(t, err)
	return chain{t, genesis, organization.Member(t, "orderer"), organization.Client}
}

// block makes the block after another one; change alters its parts before they are signed.
func (c chain) block(previous *common.Block, signer *pki.Identity, change func(*common.BlockHeader, *common.OrdererBlockMetadata, *etcdraft.BlockMetadata)) *common.Block {
	c.t.Helper()
	envelope, err := client.Message("records", "text", c.member)
	check(c.t, err)
	raw, err := proto.Marshal(envelope)
	check(c.t, err)
	before, err := verify.HeaderBytes(previous.Header)
	check(c.t, err)
	previousHash, dataHash := sha256.Sum256(before), sha256.Sum256(raw)
	header := &common.BlockHeader{Number: previous.Header.Number + 1, PreviousHash: previousHash[:], DataHash: dataHash[:]}
	metadata := &common.OrdererBlockMetadata{LastConfig: &common.LastConfig{}}
	raft := &etcdraft.BlockMetadata{ConsenterIds: []uint64{1}, NextConsenterId: 2, RaftIndex: header.Number + 3}
	if change != nil {
		change(header, metadata, raft)
	}
	metadata.ConsenterMetadata = c.encode(&common.Metadata{Value: c.encode(raft)})
	value := c.encode(metadata)
	creator, err := signer.Serialized()
	check(c.t, err)
	signatureHeader := c.encode(&common.SignatureHeader{Creator: creator, Nonce: make([]byte, 24)})
	headerBytes, err := verify.HeaderBytes(header)
	check(c.t, err)
	signature, err := signer.Sign(append(append(append([]byte{}, value...), signatureHeader...), headerBytes...))
	check(c.t, err)
	return &common.Block{
		Header: header,
		Data:   &common.BlockData{Data: [][]byte{raw}},
		Metadata: &common.BlockMetadata{Metadata: [][]byte{
			c.encode(&common.Metadata{Value: value, Signatures: []*common.MetadataSignature{{
				SignatureHeader: signatureHeader, Signature: signature,
			}}}),
			c.encode(&common.Metadata{Value: c.encode(&common.LastConfig{})}),
			{}, {}, {},
		}},
	}
}

func (c chain) encode(message proto.Message) []byte {
	c.t.Helper()
	encoded, err := proto.Marshal(message)
	check(c.t, err)
	return encoded
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestABlockThatIsNotAsTheRulesSayIsRefused(t *testing.T) {
	made := newChain(t)
	stranger := network.NewOrganization(t, "stranger")
	forger := &pki.Identity{Credential: stranger.Member(t, "orderer").Credential, MSPID: made.node.MSPID}
	type (
		header = *common.BlockHeader
		signed = *common.OrdererBlockMetadata
		raft   = *etcdraft.BlockMetadata
	)
	good := func() *common.Block { return made.block(made.genesis, made.node, nil) }
	altered := func(change func(*common.Block)) *common.Block {
		block := good()
		change(block)
		return block
	}
	with := func(change func(header, signed, raft)) *common.Block {
		return made.block(made.genesis, made.node, change)
	}
	cases := []struct {
		name  string
		block *common.Block
		says  string
	}{
		{"another number", with(func(header header, _ signed, _ raft) { header.Number = 2 }), "block 1 is missing"},
		{"another previous hash", with(func(header header, _ signed, _ raft) { header.PreviousHash = []byte("x") }), "previous hash"},
		{"other data", altered(func(block *common.Block) { block.Data.Data[0][20] ^= 1 }), "data hash"},
		{"no data", altered(func(block *common.Block) {
			empty := sha256.Sum256(nil)
			block.Data.Data, block.Header.DataHash = nil, empty[:]
		}), "empty"},
		{"another last config", with(func(_ header, signed signed, _ raft) { signed.LastConfig.Index = 1 }), "last config"},
		{"no last config", with(func(_ header, signed signed, _ raft) { signed.LastConfig = nil }), "no last config"},
		{"Raft ids of others", with(func(_ header, _ signed, raft raft) { raft.ConsenterIds = []uint64{1, 2} }), "Raft ids"},
		{"a header that was not signed", altered(func(block *common.Block) { block.Header.Number = 1 << 40 }), "missing"},
		{"a signer of another organization", made.block(made.genesis, stranger.Member(t, "orderer"), nil), "no ordering organization"},
		{"a signer of another authority", made.block(made.genesis, forger, nil), "unknown authority"},
		{"a signer who is no orderer", made.block(made.genesis, made.member, nil), "is not an orderer"},
		{"a filter that only peers write", altered(func(block *common.Block) { block.Metadata.Metadata[2] = []byte{0} }), "not empty"},
		{"no signature", altered(func(block *common.Block) {
			metadata := &common.Metadata{}
			check(t, proto.Unmarshal(block.Metadata.Metadata[0], metadata))
			metadata.Signatures = nil
			block.Metadata.Metadata[0] = made.encode(metadata)
		}), "0 signatures"},
		{"a signature of another block", altered(func(block *common.Block) {
			block.Metadata.Metadata[0] = with(func(header header, _ signed, _ raft) { header.Number = 7 }).Metadata.Metadata[0]
		}), "does not fit"},
		{"a signature that was altered", altered(func(block *common.Block) {
			metadata := &common.Metadata{}
			check(t, proto.Unmarshal(block.Metadata.Metadata[0], metadata))
			metadata.Signatures[0].Signature[10] ^= 1
			block.Metadata.Metadata[0] = made.encode(metadata)
		}), "does not fit"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			verifier, err := verify.New(made.genesis)
			check(t, err)
			if err := verifier.Add(c.block); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, not %q", err, c.says)
			}
		})
	}
	t.Run("and good ones are accepted", func(t *testing.T) {
		verifier, err := verify.New(made.genesis)
		check(t, err)
		first := good()
		check(t, verifier.Add(first))
		check(t, verifier.Add(made.block(first, made.node, nil)))
	})
}
