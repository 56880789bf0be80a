package application_test

import (
	"os/exec"
	"strings"
	"testing"

	"consilium/tests/go/network"
)

// The same calls and failures by the SDK for Java, in a program of its own.
func TestApplicationInJava(t *testing.T) {
	hospital(t)
	member := ledgers.Organization(t, "hospital")
	said, err := exec.Command("java", "-cp", network.JavaApplication(t), "Application",
		member.PeerAddress(), ledgers.Channel, member.MSPID, ledgers.User(member, "User1")).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "5 passed, 0 failed") {
		t.Fatalf("%v\n%s", err, said)
	}
}
