// Package verify checks a chain of blocks from the public rules alone: hashes, the signature of
// every block, its signer's certificate, and what the metadata must say. It shares no code with any
// ordering service.
package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"google.golang.org/protobuf/proto"

	"consilium/tests/ordering/client"
)

// Chain checks blocks in the order in which they follow each other. It trusts its genesis block and
// nothing else: organizations and consenters come from the config blocks on the way.
type Chain struct {
	// Height is the number of the next block.
	Height uint64
	// Hashes are the header hashes by number.
	Hashes [][]byte
	// Envelopes counts the envelopes in all blocks.
	Envelopes int
	// Signers counts the blocks that each certificate (by common name) has signed.
	Signers map[string]int

	channel    string
	roots      map[string]*x509.CertPool
	consenters int
	sequence   uint64
	lastConfig uint64
	raftIndex  uint64
	nextID     uint64
}

// New starts at a genesis block.
func New(genesis *common.Block) (*Chain, error) {
	chain := &Chain{Signers: map[string]int{}}
	if err := chain.genesis(genesis); err != nil {
		return nil, fmt.Errorf("genesis block: %w", err)
	}
	return chain, nil
}

func (c *Chain) genesis(block *common.Block) error {
	if block.GetHeader().GetNumber() != 0 || len(block.Header.PreviousHash) != 0 {
		return errors.New("it follows another block")
	}
	if err := checkDataHash(block); err != nil {
		return err
	}
	header, _, err := client.Parse(block.Data.Data[0])
	if err != nil {
		return err
	}
	c.channel = header.ChannelId
	if err := c.adopt(block); err != nil {
		return err
	}
	return c.append(block)
}

// Add checks the next block.
func (c *Chain) Add(block *common.Block) error {
	if err := c.add(block); err != nil {
		return fmt.Errorf("block %d: %w", block.GetHeader().GetNumber(), err)
	}
	return nil
}

func (c *Chain) add(block *common.Block) error {
	if block.Header == nil || block.Data == nil || block.Metadata == nil {
		return errors.New("header, data or metadata is missing")
	}
	if block.Header.Number != c.Height {
		return fmt.Errorf("block %d is missing", c.Height)
	}
	if !bytes.Equal(block.Header.PreviousHash, c.Hashes[c.Height-1]) {
		return fmt.Errorf("previous hash %x, but block %d has %x",
			block.Header.PreviousHash, c.Height-1, c.Hashes[c.Height-1])
	}
	if err := checkDataHash(block); err != nil {
		return err
	}
	isConfig, err := c.checkEnvelopes(block)
	if err != nil {
		return err
	}
	// Who may sign a config block is what the configuration before it says.
	signers := c.roots
	if isConfig {
		if err := c.adopt(block); err != nil {
			return err
		}
	}
	if err := c.checkMetadata(block, signers); err != nil {
		return err
	}
	return c.append(block)
}

func (c *Chain) append(block *common.Block) error {
	header, err := HeaderBytes(block.Header)
	if err != nil {
		return err
	}
	hash := sha256.Sum256(header)
	c.Hashes = append(c.Hashes, hash[:])
	c.Envelopes += len(block.Data.Data)
	c.Height++
	return nil
}

// HeaderBytes is the ASN.1 form of a header that is hashed and signed.
func HeaderBytes(header *common.BlockHeader) ([]byte, error) {
	return asn1.Marshal(struct {
		Number       *big.Int
		PreviousHash []byte
		DataHash     []byte
	}{new(big.Int).SetUint64(header.Number), header.PreviousHash, header.DataHash})
}

func checkDataHash(block *common.Block) error {
	hash := sha256.New()
	for _, envelope := range block.GetData().GetData() {
		hash.Write(envelope)
	}
	if !bytes.Equal(hash.Sum(nil), block.Header.DataHash) {
		return errors.New("the data hash does not fit the data")
	}
	return nil
}

// checkEnvelopes checks that every envelope is of this channel and in canonical form, and says
// whether this is a config block.
func (c *Chain) checkEnvelopes(block *common.Block) (bool, error) {
	if len(block.Data.Data) == 0 {
		return false, errors.New("it is empty")
	}
	for number, raw := range block.Data.Data {
		envelope := &common.Envelope{}
		if err := proto.Unmarshal(raw, envelope); err != nil {
			return false, fmt.Errorf("envelope %d: %w", number, err)
		}
		header, _, err := client.Parse(raw)
		if err != nil {
			return false, fmt.Errorf("envelope %d: %w", number, err)
		}
		if header.ChannelId != c.channel {
			return false, fmt.Errorf("envelope %d is for channel %q", number, header.ChannelId)
		}
		if len(envelope.Payload) == 0 || len(envelope.Signature) == 0 {
			return false, fmt.Errorf("envelope %d has no payload or no signature", number)
		}
		canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(envelope)
		if err != nil || !bytes.Equal(canonical, raw) {
			return false, fmt.Errorf("envelope %d is not in canonical form", number)
		}
		if header.Type == int32(common.HeaderType_CONFIG) {
			if len(block.Data.Data) != 1 {
				return false, fmt.Errorf("envelope %d is a config message among %d", number, len(block.Data.Data))
			}
			return true, nil
		}
	}
	return false, nil
}

// adopt takes over the configuration in a config block.
func (c *Chain) adopt(block *common.Block) error {
	config, err := client.ConfigOf(block)
	if err != nil {
		return err
	}
	if block.Header.Number != 0 && config.Sequence != c.sequence+1 {
		return fmt.Errorf("config sequence %d follows %d", config.Sequence, c.sequence)
	}
	group := config.GetChannelGroup().GetGroups()["Orderer"]
	roots := map[string]*x509.CertPool{}
	for name, organization := range group.GetGroups() {
		id, pool, err := rootsOf(organization)
		if err != nil {
			return fmt.Errorf("organization %s: %w", name, err)
		}
		roots[id] = pool
	}
	consensus, metadata := &orderer.ConsensusType{}, &etcdraft.ConfigMetadata{}
	if err := proto.Unmarshal(group.GetValues()["ConsensusType"].GetValue(), consensus); err != nil {
		return err
	}
	if err := proto.Unmarshal(consensus.Metadata, metadata); err != nil {
		return err
	}
	c.roots, c.consenters = roots, len(metadata.Consenters)
	c.sequence, c.lastConfig = config.Sequence, block.Header.Number
	return nil
}

func rootsOf(organization *common.ConfigGroup) (string, *x509.CertPool, error) {
	outer, inner := &msp.MSPConfig{}, &msp.FabricMSPConfig{}
	if err := proto.Unmarshal(organization.GetValues()["MSP"].GetValue(), outer); err != nil {
		return "", nil, err
	}
	if err := proto.Unmarshal(outer.Config, inner); err != nil {
		return "", nil, err
	}
	pool := x509.NewCertPool()
	for _, root := range inner.RootCerts {
		if !pool.AppendCertsFromPEM(root) {
			return "", nil, errors.New("a root certificate cannot be read")
		}
	}
	return inner.Name, pool, nil
}

func (c *Chain) checkMetadata(block *common.Block, signers map[string]*x509.CertPool) error {
	slots := block.Metadata.Metadata
	if len(slots) != 5 {
		return fmt.Errorf("%d metadata slots instead of 5", len(slots))
	}
	for _, index := range []common.BlockMetadataIndex{
		common.BlockMetadataIndex_TRANSACTIONS_FILTER,
		common.BlockMetadataIndex_ORDERER,
		common.BlockMetadataIndex_COMMIT_HASH,
	} {
		if len(slots[index]) != 0 {
			return fmt.Errorf("metadata slot %s is not empty", index)
		}
	}
	signed := &common.Metadata{}
	if err := proto.Unmarshal(slots[common.BlockMetadataIndex_SIGNATURES], signed); err != nil {
		return fmt.Errorf("signatures: %w", err)
	}
	if err := c.checkLastConfig(slots[common.BlockMetadataIndex_LAST_CONFIG]); err != nil {
		return err
	}
	if err := c.checkOrdererMetadata(signed.Value, c.lastConfig == block.Header.Number); err != nil {
		return err
	}
	if len(signed.Signatures) != 1 {
		return fmt.Errorf("%d signatures; an orderer signs its own copy, once", len(signed.Signatures))
	}
	header, err := HeaderBytes(block.Header)
	if err != nil {
		return err
	}
	signature := signed.Signatures[0]
	if len(signature.IdentifierHeader) != 0 {
		return errors.New("the signature is of the BFT form")
	}
	message := slices.Concat(signed.Value, signature.SignatureHeader, header)
	return c.checkSignature(signature, message, signers)
}

func (c *Chain) checkLastConfig(slot []byte) error {
	metadata, last := &common.Metadata{}, &common.LastConfig{}
	if err := proto.Unmarshal(slot, metadata); err != nil {
		return fmt.Errorf("last config slot: %w", err)
	}
	if len(metadata.Signatures) != 0 {
		return errors.New("the last config slot is signed")
	}
	if err := proto.Unmarshal(metadata.Value, last); err != nil {
		return fmt.Errorf("last config slot: %w", err)
	}
	if last.Index != c.lastConfig {
		return fmt.Errorf("the last config slot says %d; it was %d", last.Index, c.lastConfig)
	}
	return nil
}

func (c *Chain) checkOrdererMetadata(value []byte, isConfig bool) error {
	metadata := &common.OrdererBlockMetadata{}
	if err := proto.Unmarshal(value, metadata); err != nil {
		return fmt.Errorf("signed metadata: %w", err)
	}
	if metadata.LastConfig == nil {
		return errors.New("the signed metadata has no last config")
	}
	if metadata.LastConfig.Index != c.lastConfig {
		return fmt.Errorf("the signed last config is %d; it was %d", metadata.LastConfig.Index, c.lastConfig)
	}
	wrapper, raft := &common.Metadata{}, &etcdraft.BlockMetadata{}
	if err := proto.Unmarshal(metadata.ConsenterMetadata, wrapper); err != nil {
		return fmt.Errorf("consenter metadata: %w", err)
	}
	if err := proto.Unmarshal(wrapper.Value, raft); err != nil {
		return fmt.Errorf("consenter metadata: %w", err)
	}
	ids := slices.Clone(raft.ConsenterIds)
	slices.Sort(ids)
	switch {
	case len(ids) != c.consenters:
		return fmt.Errorf("Raft ids %v for %d consenters", ids, c.consenters)
	case len(slices.Compact(ids)) != c.consenters || ids[0] == 0:
		return fmt.Errorf("Raft ids %v are not distinct", raft.ConsenterIds)
	case raft.NextConsenterId <= ids[len(ids)-1]:
		return fmt.Errorf("the next Raft id is %d, after %v", raft.NextConsenterId, ids)
	case raft.NextConsenterId < c.nextID:
		return fmt.Errorf("the next Raft id went back from %d to %d", c.nextID, raft.NextConsenterId)
	case raft.RaftIndex < c.raftIndex, raft.RaftIndex == c.raftIndex && !isConfig:
		// A config block that changes the consenters carries the index of the block before it
		// (fabric: orderer/consensus/etcdraft/chain.go writeConfigBlock).
		return fmt.Errorf("Raft index %d after %d", raft.RaftIndex, c.raftIndex)
	}
	c.nextID, c.raftIndex = raft.NextConsenterId, raft.RaftIndex
	return nil
}

func (c *Chain) checkSignature(signature *common.MetadataSignature, message []byte, signers map[string]*x509.CertPool) error {
	header, identity := &common.SignatureHeader{}, &msp.SerializedIdentity{}
	if err := proto.Unmarshal(signature.SignatureHeader, header); err != nil {
		return fmt.Errorf("signature header: %w", err)
	}
	if len(header.Nonce) != 24 {
		return fmt.Errorf("a nonce of %d bytes", len(header.Nonce))
	}
	if err := proto.Unmarshal(header.Creator, identity); err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	roots, known := signers[identity.Mspid]
	if !known {
		return fmt.Errorf("the signer's MSP %q is no ordering organization", identity.Mspid)
	}
	block, _ := pem.Decode(identity.IdBytes)
	if block == nil {
		return errors.New("the signer is not PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	if _, err := certificate.Verify(x509.VerifyOptions{
		Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		return fmt.Errorf("signer %s: %w", certificate.Subject.CommonName, err)
	}
	if !slices.Contains(certificate.Subject.OrganizationalUnit, "orderer") {
		return fmt.Errorf("signer %s is not an orderer", certificate.Subject.CommonName)
	}
	key, ok := certificate.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return errors.New("the signer's key is not ECDSA")
	}
	if err := verify(key, message, signature.Signature); err != nil {
		return fmt.Errorf("signature of %s: %w", certificate.Subject.CommonName, err)
	}
	c.Signers[certificate.Subject.CommonName]++
	return nil
}

func verify(key *ecdsa.PublicKey, message, signature []byte) error {
	var values struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(signature, &values)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return errors.New("bytes after the signature")
	}
	if values.S.Cmp(new(big.Int).Rsh(key.Params().N, 1)) > 0 {
		return errors.New("S is not the lower of its two values")
	}
	digest := sha256.Sum256(message)
	if !ecdsa.VerifyASN1(key, digest[:], signature) {
		return errors.New("it does not fit the block")
	}
	return nil
}
