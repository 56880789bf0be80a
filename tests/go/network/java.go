package network

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// JavaApplication compiles the programs on the SDK for Java, and gives the class path of them.
func JavaApplication(t testing.TB) string {
	t.Helper()
	project, err := filepath.Abs("../../java/application")
	Must(t, err)
	// Servers are asked only for what is not there yet.
	build := func(more ...string) ([]byte, error) {
		return exec.Command("mvn", append(more, "-q", "-B", "-f", filepath.Join(project, "pom.xml"), "compile")...).CombinedOutput()
	}
	if _, err := build("-o"); err != nil {
		if said, err := build(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	return filepath.Join(project, "target", "classes") + ":" + filepath.Join(project, "target", "dependency", "*")
}
