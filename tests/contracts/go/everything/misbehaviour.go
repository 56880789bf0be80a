package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
)

// What no contract should do. It may cost its own transaction, or its own process, and nothing else.
var misbehaviour = map[string]function{
	"loop":     loop,
	"allocate": allocate,
	"exit":     exit,
	"flood":    flood,
	"large":    large,
}

func loop(shim.ChaincodeStubInterface, []string) (any, error) {
	for turns := 0; ; turns++ {
		if turns < 0 {
			return nil, nil
		}
	}
}

// allocate until the operating system ends the process.
func allocate(shim.ChaincodeStubInterface, []string) (any, error) {
	var kept [][]byte
	for {
		// Touched, so that the memory is really there.
		kept = append(kept, bytes.Repeat([]byte{byte(len(kept)) | 1}, 16<<20))
	}
}

// exit KEY: in the middle of a transaction, after a write.
func exit(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	if err := stub.PutState(args[0], []byte("half")); err != nil {
		return nil, err
	}
	os.Exit(3)
	return nil, nil
}

// flood PREFIX COUNT BYTES: many values in one transaction.
func flood(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	size, err := strconv.Atoi(args[2])
	if err != nil {
		return nil, err
	}
	value := bytes.Repeat([]byte("x"), size)
	for number := range count {
		if err := stub.PutState(fmt.Sprintf("%s%06d", args[0], number), value); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// large KEY BYTES: one value.
func large(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	return nil, stub.PutState(args[0], bytes.Repeat([]byte("x"), size))
}
