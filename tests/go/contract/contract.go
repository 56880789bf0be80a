// Package contract is a contract on Fabric's shim for Go that one service runs for all peers.
package contract

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"consilium/tests/go/network"
)

type contract struct{}

func (contract) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (contract) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	answer, err := call(stub)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(answer)
}

func call(stub shim.ChaincodeStubInterface) ([]byte, error) {
	function, args := stub.GetFunctionAndParameters()
	arg := func(at int) string {
		if at < len(args) {
			return args[at]
		}
		return ""
	}
	switch function {
	case "put":
		return nil, stub.PutState(arg(0), []byte(arg(1)))
	case "get":
		return present(stub.GetState(arg(0)))
	case "announce": // a value and its event
		if err := stub.SetEvent("Announced", []byte(arg(1))); err != nil {
			return nil, err
		}
		return []byte(stub.GetTxID()), stub.PutState(arg(0), []byte(arg(1)))
	case "add":
		value, err := stub.GetState(arg(0))
		if err != nil {
			return nil, err
		}
		return nil, stub.PutState(arg(0), append(value, arg(1)...))
	case "count": // what a range holds, and a write so that it is submitted
		return count(stub, arg(0), arg(1), arg(2))
	case "differ": // what no two peers answer alike
		return nil, stub.PutState(arg(0), []byte(rand.Text()))
	case "sleep":
		time.Sleep(time.Hour)
	case "putPrivate":
		transient, err := stub.GetTransient()
		if err != nil {
			return nil, err
		}
		return nil, stub.PutPrivateData(arg(0), arg(1), transient["value"])
	case "getPrivate":
		return present(stub.GetPrivateData(arg(0), arg(1)))
	case "purgePrivate":
		return nil, stub.PurgePrivateData(arg(0), arg(1))
	}
	return nil, fmt.Errorf("no function %s", function)
}

func count(stub shim.ChaincodeStubInterface, start, end, result string) ([]byte, error) {
	found, err := stub.GetStateByRange(start, end)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	held := 0
	for ; found.HasNext(); held++ {
		if _, err := found.Next(); err != nil {
			return nil, err
		}
	}
	answer := []byte(fmt.Sprint(held))
	return answer, stub.PutState(result, answer)
}

func present(value []byte, err error) ([]byte, error) {
	if err == nil && len(value) == 0 {
		err = errors.New("nothing there")
	}
	return value, err
}

// Package is a file of type ccaas whose service listens at the port.
func Package(t testing.TB, label string, port int) string {
	t.Helper()
	encode := func(value any) []byte {
		text, err := json.Marshal(value)
		network.Must(t, err)
		return text
	}
	code := archive(t, map[string][]byte{"connection.json": encode(map[string]any{
		"address": fmt.Sprintf("localhost:%d", port), "dial_timeout": "10s", "tls_required": false,
	})})
	file := filepath.Join(t.TempDir(), label+".tar.gz")
	network.Must(t, os.WriteFile(file, archive(t, map[string][]byte{
		"metadata.json": encode(map[string]string{"path": "", "type": "ccaas", "label": label}),
		"code.tar.gz":   code,
	}), 0o600))
	return file
}

func archive(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	tape := tar.NewWriter(zip)
	// In order: what a package is called depends on its bytes.
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := files[name]
		network.Must(t, tape.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}))
		_, err := tape.Write(content)
		network.Must(t, err)
	}
	network.Must(t, tape.Close())
	network.Must(t, zip.Close())
	return packed.Bytes()
}

// Serve runs the contract as the service that the package names, until the process ends.
func Serve(packageID string, port int) error {
	server := &shim.ChaincodeServer{
		CCID: packageID, Address: fmt.Sprintf("127.0.0.1:%d", port), CC: contract{},
		TLSProps: shim.TLSProperties{Disabled: true},
	}
	return server.Start()
}
