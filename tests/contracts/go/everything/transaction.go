package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/statebased"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
)

var transactionFunctions = map[string]function{
	"setPolicy": setPolicy,
	"getPolicy": getPolicy,
	"event":     event,
	"call":      call,
	"context":   context,
	"fail":      fail,
	"crash":     crash,
}

// setPolicy KEY MSP…: from now on a peer of each of these organizations has to endorse.
func setPolicy(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	policy, err := signedByPeersOf(args[1:])
	if err != nil {
		return nil, err
	}
	return nil, stub.SetStateValidationParameter(args[0], policy)
}

func getPolicy(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return organizations(stub.GetStateValidationParameter(args[0]))
}

func signedByPeersOf(mspIDs []string) ([]byte, error) {
	policy, err := statebased.NewStateEP(nil)
	if err != nil {
		return nil, err
	}
	if err := policy.AddOrgs(statebased.RoleTypePeer, mspIDs...); err != nil {
		return nil, err
	}
	return policy.Policy()
}

func organizations(policy []byte, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	parsed, err := statebased.NewStateEP(policy)
	if err != nil {
		return nil, err
	}
	found := parsed.ListOrgs()
	slices.Sort(found)
	return found, nil
}

func event(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return nil, stub.SetEvent(args[0], []byte(args[1]))
}

type answer struct {
	Status  int32  `json:"status"`
	Message string `json:"message"`
	Payload string `json:"payload"`
}

// call CHAINCODE CHANNEL ARGUMENT…: what that chaincode answers.
func call(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	var forwarded [][]byte
	for _, arg := range args[2:] {
		forwarded = append(forwarded, []byte(arg))
	}
	response := stub.InvokeChaincode(args[0], forwarded, args[1])
	return answer{response.GetStatus(), response.GetMessage(), string(response.GetPayload())}, nil
}

// What a transaction knows of itself; long byte strings as their hashes.
type facts struct {
	TxID        string            `json:"txId"`
	Channel     string            `json:"channel"`
	Function    string            `json:"function"`
	Args        []string          `json:"args"`
	Parts       []string          `json:"parts"`
	Joined      string            `json:"joined"`
	MSPID       string            `json:"mspId"`
	Creator     string            `json:"creator"`
	Binding     string            `json:"binding"`
	Proposal    string            `json:"proposal"`
	Signature   string            `json:"signature"`
	Seconds     int64             `json:"seconds"`
	Nanos       int32             `json:"nanos"`
	Transient   map[string]string `json:"transient"`
	Decorations int               `json:"decorations"`
}

func context(stub shim.ChaincodeStubInterface, _ []string) (any, error) {
	name, args := stub.GetFunctionAndParameters()
	joined, joinedErr := stub.GetArgsSlice()
	mspID, mspErr := cid.GetMSPID(stub)
	creator, creatorErr := stub.GetCreator()
	binding, bindingErr := stub.GetBinding()
	signed, signedErr := stub.GetSignedProposal()
	timestamp, timestampErr := stub.GetTxTimestamp()
	transient, transientErr := stub.GetTransient()
	err := errors.Join(joinedErr, mspErr, creatorErr, bindingErr, signedErr, timestampErr, transientErr)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for key, value := range transient {
		values[key] = string(value)
	}
	return facts{
		TxID:        stub.GetTxID(),
		Channel:     stub.GetChannelID(),
		Function:    name,
		Args:        args,
		Parts:       stub.GetStringArgs(),
		Joined:      string(joined),
		MSPID:       mspID,
		Creator:     sha256Hex(creator),
		Binding:     hex.EncodeToString(binding),
		Proposal:    sha256Hex(signed.GetProposalBytes()),
		Signature:   sha256Hex(signed.GetSignature()),
		Seconds:     timestamp.GetSeconds(),
		Nanos:       timestamp.GetNanos(),
		Transient:   values,
		Decorations: len(stub.GetDecorations()),
	}, nil
}

func sha256Hex(bytes []byte) string {
	hash := sha256.Sum256(bytes)
	return hex.EncodeToString(hash[:])
}

func fail(_ shim.ChaincodeStubInterface, args []string) (any, error) {
	return nil, errors.New(args[0])
}

func crash(_ shim.ChaincodeStubInterface, args []string) (any, error) {
	panic(args[0])
}
