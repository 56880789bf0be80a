package fabric_test

import (
	"path/filepath"
	"strings"
	"testing"

	"consilium/tests/go/network"
)

// A contract in Go, packaged by Fabric's `peer`, is built and started by the same external builder at
// peers of both kinds.
func (w *consortium) builtByBoth(t *testing.T) {
	built := *w
	built.name = "built" + w.name
	file := filepath.Join(t.TempDir(), "built.tar.gz")
	w.hospital.Peer(t, "lifecycle", "chaincode", "package", file, "--lang", "golang",
		"--path", "../../contracts/go/notes", "--label", built.name)
	id, _ := w.hospital.Peer(t, "lifecycle", "chaincode", "calculatepackageid", file)
	built.packageID = strings.TrimSpace(id)
	w.fabric.Peer(t, "lifecycle", "chaincode", "install", file)
	built.agree(t, file, 1)
	w.caughtUp(t)
	built.invoke(t, w.both(), "", "put", "n1", "milk")
	for _, asked := range []*network.Terminal{w.hospital, w.regulator, w.fabric.Terminal} {
		built.holds(t, asked, "milk", "get", "n1")
	}
}

// Fabric 3 keeps the name of the system chaincode of the first lifecycle, and fails to launch it.
func (w *consortium) lscc(t *testing.T) {
	for _, function := range []string{
		"getchaincodes", "GetChaincodes", "getid", "getdepspec", "getccdata", "getinstalledchaincodes", "nosuch",
	} {
		for _, asked := range []*network.Terminal{w.hospital, w.fabric.Terminal} {
			_, said, err := asked.Try(t, "chaincode", "query", "-C", w.net.Channel, "-n", "lscc",
				"-c", callOf(t, []string{function, w.net.Channel, w.name}))
			if err == nil {
				t.Fatalf("%s was answered at %s: %s", function, asked.Address, said)
			}
			want(t, said, "could not launch chaincode lscc.syscc: error building chaincode: error building image: "+
				"failed to get chaincode package for external build: could not get legacy chaincode package 'lscc.syscc'")
		}
	}
}
