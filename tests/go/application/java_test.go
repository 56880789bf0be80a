package application_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The same calls and failures by the SDK for Java, in a program of its own.
func TestApplicationInJava(t *testing.T) {
	hospital(t)
	project, err := filepath.Abs("../../java/application")
	if err != nil {
		t.Fatal(err)
	}
	// Servers are asked only for what is not there yet.
	build := func(more ...string) ([]byte, error) {
		return exec.Command("mvn", append(more, "-q", "-B", "-f", filepath.Join(project, "pom.xml"), "compile")...).CombinedOutput()
	}
	if _, err := build("-o"); err != nil {
		if said, err := build(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	classes := filepath.Join(project, "target", "classes") + ":" + filepath.Join(project, "target", "dependency", "*")
	member := ledgers.Organization(t, "hospital")
	said, err := exec.Command("java", "-cp", classes, "Application",
		fmt.Sprintf("localhost:%d", member.Ports.Peer), ledgers.Channel, member.MSPID, ledgers.User(member, "User1")).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "5 passed, 0 failed") {
		t.Fatalf("%v\n%s", err, said)
	}
}
