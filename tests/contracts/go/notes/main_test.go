package main

import (
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
)

// A stub whose state is a map. Calls that it does not have panic.
type memory struct {
	shim.ChaincodeStubInterface
	function string
	args     []string
	state    map[string][]byte
}

func (m *memory) GetFunctionAndParameters() (string, []string) { return m.function, m.args }
func (m *memory) GetState(key string) ([]byte, error)          { return m.state[key], nil }
func (m *memory) PutState(key string, value []byte) error {
	m.state[key] = value
	return nil
}

func TestNotes(t *testing.T) {
	state := map[string][]byte{}
	for _, step := range []struct {
		function string
		args     []string
		status   int32
		answer   string
	}{
		{"put", []string{"n1", "milk"}, shim.OK, ""},
		{"get", []string{"n1"}, shim.OK, "milk"},
		{"get", []string{"n2"}, shim.OK, ""},
		{"put", []string{"n1"}, shim.ERROR, ""},
	} {
		response := notes{}.Invoke(&memory{function: step.function, args: step.args, state: state})
		if response.Status != step.status || string(response.Payload) != step.answer {
			t.Errorf("%s %v: %d %q", step.function, step.args, response.Status, response.Payload)
		}
	}
}
