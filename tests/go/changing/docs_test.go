package changing

import (
	"os"
	"strings"
	"testing"

	"consilium/tests/go/network"
)

// What docs/applications.md shows is what these tests run.
func TestTheDocumentationShowsTheCodeThatIsTested(t *testing.T) {
	docs, err := os.ReadFile("../../../docs/applications.md")
	network.Must(t, err)
	for _, file := range []string{
		"submit.go", "listen.go", "../../node/application/submit.mjs", "../../node/application/listen.mjs",
	} {
		code, err := os.ReadFile(file)
		network.Must(t, err)
		if !strings.Contains(string(docs), strings.TrimSpace(string(code))) {
			t.Errorf("docs/applications.md does not show %s", file)
		}
	}
}
