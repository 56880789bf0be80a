// Command everything is a contract on Fabric's Go shim that makes every call that the shim offers.
// The contracts beside it do the same in other languages; tests/node/languages says what each
// function has to answer.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// A function of the contract: string arguments, and an answer that is sent as it is ([]byte), or as
// text (string), or as JSON (anything else).
type function func(stub shim.ChaincodeStubInterface, args []string) (any, error)

type everything struct{}

func (everything) Init(stub shim.ChaincodeStubInterface) *peer.Response {
	_, args := stub.GetFunctionAndParameters()
	return respond(nil, stub.PutState("initialized", []byte(args[0])))
}

func (everything) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	name, args := stub.GetFunctionAndParameters()
	for _, functions := range []map[string]function{stateFunctions, privateFunctions, transactionFunctions, misbehaviour} {
		if called, found := functions[name]; found {
			return respond(called(stub, args))
		}
	}
	return shim.Error("no such function " + name)
}

func respond(answer any, err error) *peer.Response {
	if err != nil {
		return shim.Error(err.Error())
	}
	switch answer := answer.(type) {
	case nil:
		return shim.Success(nil)
	case []byte:
		return shim.Success(answer)
	case string:
		return shim.Success([]byte(answer))
	default:
		encoded, err := json.Marshal(answer)
		if err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success(encoded)
	}
}

// Names of environment variables with the paths of the TLS files; without them there is no TLS.
const (
	keyFile    = "CHAINCODE_TLS_KEY"
	certFile   = "CHAINCODE_TLS_CERT"
	clientCAs  = "CHAINCODE_CLIENT_CA_CERT"
	identifier = "CHAINCODE_ID"
	address    = "CHAINCODE_SERVER_ADDRESS"
)

func main() {
	if os.Getenv(address) == "" {
		log.Fatal(shim.Start(everything{}))
	}
	tls, err := tlsProperties()
	if err != nil {
		log.Fatal(err)
	}
	server := shim.ChaincodeServer{
		CCID:     os.Getenv(identifier),
		Address:  os.Getenv(address),
		CC:       everything{},
		TLSProps: tls,
	}
	log.Fatal(server.Start())
}

func tlsProperties() (shim.TLSProperties, error) {
	if os.Getenv(keyFile) == "" {
		return shim.TLSProperties{Disabled: true}, nil
	}
	var files [3][]byte
	for index, name := range []string{keyFile, certFile, clientCAs} {
		content, err := os.ReadFile(os.Getenv(name))
		if err != nil {
			return shim.TLSProperties{}, fmt.Errorf("%s: %w", name, err)
		}
		files[index] = content
	}
	return shim.TLSProperties{Key: files[0], Cert: files[1], ClientCACerts: files[2]}, nil
}
