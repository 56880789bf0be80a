package main

import (
	"encoding/hex"
	"errors"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
)

// The first argument of each is the collection.
var privateFunctions = map[string]function{
	"privatePut":          privatePut,
	"privateGet":          privateGet,
	"privateGetMany":      privateGetMany,
	"privateHash":         privateHash,
	"privateDel":          privateDel,
	"privatePurge":        privatePurge,
	"privateRange":        privateRange,
	"privatePutComposite": privatePutComposite,
	"privatePartial":      privatePartial,
	"privateQuery":        privateQuery,
	"privateSetPolicy":    privateSetPolicy,
	"privateGetPolicy":    privateGetPolicy,
}

// The value travels as transient data, which reaches no block.
func transientValue(stub shim.ChaincodeStubInterface) ([]byte, error) {
	transient, err := stub.GetTransient()
	if err != nil {
		return nil, err
	}
	value, found := transient["value"]
	if !found {
		return nil, errors.New("no transient value")
	}
	return value, nil
}

func privatePut(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	value, err := transientValue(stub)
	if err != nil {
		return nil, err
	}
	return nil, stub.PutPrivateData(args[0], args[1], value)
}

func privateGet(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	value, err := stub.GetPrivateData(args[0], args[1])
	if err == nil && len(value) == 0 {
		err = errors.New("no such private key " + args[1])
	}
	return value, err
}

func privateGetMany(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	values, err := stub.GetMultiplePrivateData(args[0], args[1:]...)
	return texts(values), err
}

func privateHash(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	hash, err := stub.GetPrivateDataHash(args[0], args[1])
	return hex.EncodeToString(hash), err
}

func privateDel(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return nil, stub.DelPrivateData(args[0], args[1])
}

func privatePurge(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return nil, stub.PurgePrivateData(args[0], args[1])
}

func privateRange(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return entries(stub.GetPrivateDataByRange(args[0], args[1], args[2]))
}

// privatePutComposite COLLECTION TYPE ATTRIBUTE…
func privatePutComposite(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	key, err := stub.CreateCompositeKey(args[1], args[2:])
	if err != nil {
		return nil, err
	}
	return privatePut(stub, []string{args[0], key})
}

func privatePartial(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	found, err := entries(stub.GetPrivateDataByPartialCompositeKey(args[0], args[1], args[2:]))
	if err != nil {
		return nil, err
	}
	return split(stub, found)
}

func privateQuery(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return entries(stub.GetPrivateDataQueryResult(args[0], args[1]))
}

func privateSetPolicy(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	policy, err := signedByPeersOf(args[2:])
	if err != nil {
		return nil, err
	}
	return nil, stub.SetPrivateDataValidationParameter(args[0], args[1], policy)
}

func privateGetPolicy(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return organizations(stub.GetPrivateDataValidationParameter(args[0], args[1]))
}
