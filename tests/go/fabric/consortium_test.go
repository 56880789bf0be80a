package fabric_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"consilium/tests/go/contract"
	"consilium/tests/go/network"
)

// One channel, ordered by Consilium, with peers of both kinds: Fabric's own programs administer it,
// and a peer of Fabric has to agree with ours about every byte.
func TestConsortium(t *testing.T) {
	net := network.Load(t)
	shared := &consortium{
		whole: t, net: net, hospital: net.Admin(t, net.Organization(t, "hospital")),
		maker: net.Admin(t, net.Organization(t, "maker")), regulator: net.Admin(t, net.Organization(t, "regulator")),
		name: fmt.Sprintf("shared%d", os.Getpid()), port: network.FreePort(t),
	}
	for _, step := range []struct {
		name string
		run  func(*consortium, *testing.T)
	}{
		{"channel commands", (*consortium).channelCommands},
		{"lifecycle commands", (*consortium).lifecycleCommands},
		{"a peer of Fabric joins and catches up", (*consortium).join},
		{"transactions endorsed by both kinds", (*consortium).endorsedByBoth},
		{"private data goes both ways", (*consortium).privateData},
		{"private data that was missed is reconciled", (*consortium).reconciliation},
		{"private data is purged everywhere", (*consortium).purge},
		{"a new version under the same name", (*consortium).upgrade},
		{"discovery answers the same", (*consortium).discovery},
		{"one package is built and run by peers of both kinds", (*consortium).builtByBoth},
		{"what is asked of lscc is answered the same", (*consortium).lscc},
		{"every block is the same", (*consortium).sameBlocks},
	} {
		if !t.Run(step.name, func(inner *testing.T) { step.run(shared, inner) }) {
			return
		}
	}
}

// What one step leaves for the next.
type consortium struct {
	whole                      *testing.T
	net                        *network.Network
	hospital, maker, regulator *network.Terminal
	fabric                     *network.FabricPeer
	name                       string
	port                       int
	packageID                  string
}

func (w *consortium) channelCommands(t *testing.T) {
	out, _ := w.hospital.Peer(t, "channel", "list")
	want(t, out, "Channels peers has joined: \n"+w.net.Channel)
	genesis := w.hospital.Block(t, 0)
	joined, err := os.ReadFile(filepath.Join(w.net.Dir, "channel", w.net.Channel+".block"))
	network.Must(t, err)
	original := &common.Block{}
	network.Must(t, proto.Unmarshal(joined, original))
	if !proto.Equal(genesis.Header, original.Header) || !proto.Equal(genesis.Data, original.Data) {
		t.Fatal("block 0 is not the genesis block")
	}
	for _, from := range [][]string{nil, w.hospital.Orderer()} {
		file := filepath.Join(t.TempDir(), "config")
		w.hospital.Peer(t, append([]string{"channel", "fetch", "config", file, "-c", w.net.Channel}, from...)...)
	}
	_, errors, err := w.hospital.Try(t, "channel", "getinfo", "-c", "nowhere")
	if err == nil {
		t.Fatal("a channel that does not exist has a height")
	}
	want(t, errors, "Invalid chain ID, nowhere")
	_, errors, err = w.hospital.Try(t, "channel", "join", "-b", filepath.Join(w.net.Dir, "channel", w.net.Channel+".block"))
	if err == nil {
		t.Fatal("a channel was joined twice")
	}
	want(t, errors, "ledger [health] already exists with state [ACTIVE]")
}

func (w *consortium) lifecycleCommands(t *testing.T) {
	file := contract.Package(t, w.name, w.port)
	id, _ := w.hospital.Peer(t, "lifecycle", "chaincode", "calculatepackageid", file)
	w.packageID = strings.TrimSpace(id)
	go func() {
		// Ends with the process; a failure shows in the first call.
		_ = contract.Serve(w.packageID, w.port)
	}()
	w.agree(t, file, 1)
	out, _ := w.hospital.Peer(t, "lifecycle", "chaincode", "querycommitted", "-C", w.net.Channel, "-n", w.name)
	want(t, out, "Version: 1, Sequence: 1, Endorsement Plugin: escc, Validation Plugin: vscc, Approvals: [HospitalMSP: true, MakerMSP: true, RegulatorMSP: true]")
	out, _ = w.maker.Peer(t, "lifecycle", "chaincode", "queryapproved", "-C", w.net.Channel, "-n", w.name, "--sequence", "1")
	want(t, out, "sequence: 1, version: 1, init-required: false, package-id: "+w.packageID)
	folder := t.TempDir()
	w.maker.Peer(t, "lifecycle", "chaincode", "getinstalledpackage", "--package-id", w.packageID, "--output-directory", folder)
	same(t, file, filepath.Join(folder, w.packageID+".tar.gz"))
	_, errors, err := w.hospital.Try(t, "lifecycle", "chaincode", "install", file)
	if err == nil {
		t.Fatal("a package was installed twice")
	}
	want(t, errors, "chaincode already successfully installed (package ID '"+w.packageID+"')")
}

// The definition of the contract at a sequence, as flags.
func (w *consortium) definition(t *testing.T, sequence int) []string {
	t.Helper()
	collections := filepath.Join(t.TempDir(), "collections.json")
	network.Must(t, os.WriteFile(collections, []byte(collectionsJSON), 0o600))
	return []string{
		"-C", w.net.Channel, "-n", w.name, "-v", fmt.Sprint(sequence), "--sequence", fmt.Sprint(sequence),
		"--signature-policy", "AND('HospitalMSP.peer','RegulatorMSP.peer')", "--collections-config", collections,
	}
}

// Private data of hospital and regulator: one that either endorses, and one that is pushed to nobody.
const collectionsJSON = `[
 {"name": "either", "policy": "OR('HospitalMSP.member','RegulatorMSP.member')", "requiredPeerCount": 0, "maxPeerCount": 3,
  "blockToLive": 0, "memberOnlyRead": true, "memberOnlyWrite": true,
  "endorsementPolicy": {"signaturePolicy": "OR('HospitalMSP.peer','RegulatorMSP.peer')"}},
 {"name": "kept", "policy": "OR('HospitalMSP.member','RegulatorMSP.member')", "requiredPeerCount": 0, "maxPeerCount": 0,
  "blockToLive": 0, "memberOnlyRead": true, "memberOnlyWrite": true,
  "endorsementPolicy": {"signaturePolicy": "OR('HospitalMSP.peer','RegulatorMSP.peer')"}}
]`

// Installs (at first), approves by everybody and commits.
func (w *consortium) agree(t *testing.T, file string, sequence int) {
	t.Helper()
	everybody := []*network.Terminal{w.hospital, w.maker, w.regulator}
	chaincode := func(at *network.Terminal, command string, args ...string) (string, string) {
		return at.Peer(t, append([]string{"lifecycle", "chaincode", command}, args...)...)
	}
	for at, admin := range everybody {
		if file != "" {
			chaincode(admin, "install", file)
			out, _ := chaincode(admin, "queryinstalled")
			want(t, out, "Package ID: "+w.packageID+", Label: "+w.name)
		}
		approve := append(w.definition(t, sequence), "--package-id", w.packageID)
		chaincode(admin, "approveformyorg", append(approve, admin.Orderer()...)...)
		out, _ := chaincode(admin, "checkcommitreadiness", append(w.definition(t, sequence), "-O", "json")...)
		var readiness struct{ Approvals map[string]bool }
		network.Must(t, json.Unmarshal([]byte(out), &readiness))
		for other, member := range everybody {
			if readiness.Approvals[member.Org.MSPID] != (other <= at) {
				t.Fatalf("after %d approvals: %s", at+1, out)
			}
		}
	}
	commit := append(w.definition(t, sequence), w.hospital.Orderer()...)
	for _, admin := range everybody {
		commit = append(commit, w.endorser(admin)...)
	}
	_, said := chaincode(w.hospital, "commit", commit...)
	for _, admin := range everybody {
		want(t, said, "committed with status (VALID) at "+admin.Address)
	}
}

func (w *consortium) endorser(at *network.Terminal) []string {
	return []string{"--peerAddresses", at.Address, "--tlsRootCertFiles", w.net.TLSRoot(at.Org)}
}

// Submits a call that the given peers endorse, and waits until it is committed at all of them.
func (w *consortium) invoke(t *testing.T, by []*network.Terminal, transient string, args ...string) string {
	t.Helper()
	said, err := w.tryInvoke(t, by, transient, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", args, err, said)
	}
	for _, endorser := range by {
		want(t, said, "committed with status (VALID) at "+endorser.Address)
	}
	return said
}

func (w *consortium) tryInvoke(t *testing.T, by []*network.Terminal, transient string, args ...string) (string, error) {
	t.Helper()
	flags := append([]string{"chaincode", "invoke", "--waitForEvent", "-C", w.net.Channel, "-n", w.name, "-c", callOf(t, args)}, by[0].Orderer()...)
	if transient != "" {
		value := base64.StdEncoding.EncodeToString([]byte(transient))
		flags = append(flags, "--transient", fmt.Sprintf(`{"value":%q}`, value))
	}
	for _, endorser := range by {
		flags = append(flags, w.endorser(endorser)...)
	}
	_, said, err := by[0].Try(t, flags...)
	return said, err
}

// Asks one peer.
func (w *consortium) query(t *testing.T, at *network.Terminal, args ...string) (string, error) {
	t.Helper()
	out, said, err := at.Try(t, "chaincode", "query", "-C", w.net.Channel, "-n", w.name, "-c", callOf(t, args))
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, said)
	}
	return strings.TrimSpace(out), nil
}

func callOf(t *testing.T, args []string) string {
	t.Helper()
	call, err := json.Marshal(map[string][]string{"Args": args})
	network.Must(t, err)
	return string(call)
}

func (w *consortium) join(t *testing.T) {
	w.fabric = network.NewFabricPeer(w.whole, w.net, w.regulator.Org)
	w.fabric.Peer(t, "lifecycle", "chaincode", "install", contract.Package(t, w.name, w.port))
	w.fabric.Peer(t, "channel", "join", "-b", filepath.Join(w.net.Dir, "channel", w.net.Channel+".block"))
	w.caughtUp(t)
}

// Waits until the Fabric peer is as high as ours.
func (w *consortium) caughtUp(t *testing.T) {
	t.Helper()
	target, err := w.regulator.Height(t)
	network.Must(t, err)
	network.Eventually(t, "Fabric's peer catches up", func() error {
		height, err := w.fabric.Height(t)
		if err == nil && height < target {
			err = fmt.Errorf("height %d of %d", height, target)
		}
		return err
	})
}

func (w *consortium) both() []*network.Terminal {
	return []*network.Terminal{w.hospital, w.fabric.Terminal}
}

func (w *consortium) endorsedByBoth(t *testing.T) {
	for at := range 3 {
		w.invoke(t, w.both(), "", "put", fmt.Sprintf("key%d", at), "value")
	}
	w.invoke(t, w.both(), "", "count", "key", "kez", "count")
	for _, asked := range []*network.Terminal{w.hospital, w.regulator, w.fabric.Terminal} {
		w.holds(t, asked, "3", "get", "count")
	}
	said, err := w.tryInvoke(t, []*network.Terminal{w.fabric.Terminal}, "", "put", "key", "value")
	if err == nil {
		t.Fatal("one organization endorsed for two")
	}
	want(t, said, "ENDORSEMENT_POLICY_FAILURE")
}

// Waits until a peer answers so.
func (w *consortium) holds(t *testing.T, asked *network.Terminal, answer string, args ...string) {
	t.Helper()
	network.Eventually(t, fmt.Sprintf("%s at %s", args, asked.Address), func() error {
		found, err := w.query(t, asked, args...)
		if err == nil && found != answer {
			err = fmt.Errorf("answered %q", found)
		}
		return err
	})
}

func (w *consortium) privateData(t *testing.T) {
	w.invoke(t, []*network.Terminal{w.hospital}, "from ours", "putPrivate", "either", "a")
	w.invoke(t, []*network.Terminal{w.fabric.Terminal}, "from Fabric", "putPrivate", "either", "b")
	for _, asked := range []*network.Terminal{w.hospital, w.regulator, w.fabric.Terminal} {
		w.holds(t, asked, "from ours", "getPrivate", "either", "a")
		w.holds(t, asked, "from Fabric", "getPrivate", "either", "b")
	}
	_, err := w.query(t, w.maker, "getPrivate", "either", "a")
	if err == nil || !strings.Contains(err.Error(), "does not have read access permission") {
		t.Fatalf("the maker is no member of the collection: %v", err)
	}
}

func (w *consortium) reconciliation(t *testing.T) {
	// Nothing of this collection is pushed: whoever did not endorse it has to ask for it.
	w.invoke(t, []*network.Terminal{w.fabric.Terminal}, "kept by Fabric", "putPrivate", "kept", "a")
	w.holds(t, w.hospital, "kept by Fabric", "getPrivate", "kept", "a")
	w.fabric.Running.Kill()
	w.invoke(t, []*network.Terminal{w.hospital}, "kept by ours", "putPrivate", "kept", "b")
	w.invoke(t, []*network.Terminal{w.hospital}, "pushed", "putPrivate", "either", "c")
	w.fabric.Start(w.whole)
	w.caughtUp(t)
	w.holds(t, w.fabric.Terminal, "kept by ours", "getPrivate", "kept", "b")
	w.holds(t, w.fabric.Terminal, "pushed", "getPrivate", "either", "c")
}

func (w *consortium) purge(t *testing.T) {
	w.invoke(t, []*network.Terminal{w.hospital}, "", "purgePrivate", "either", "a")
	w.invoke(t, []*network.Terminal{w.fabric.Terminal}, "", "purgePrivate", "either", "b")
	for _, asked := range []*network.Terminal{w.hospital, w.regulator, w.fabric.Terminal} {
		for _, key := range []string{"a", "b"} {
			network.Eventually(t, key+" is gone at "+asked.Address, func() error {
				found, err := w.query(t, asked, "getPrivate", "either", key)
				switch {
				case err == nil:
					return fmt.Errorf("it is still %q", found)
				case strings.Contains(err.Error(), "nothing there"):
					return nil
				}
				return err
			})
		}
	}
}

func (w *consortium) upgrade(t *testing.T) {
	w.agree(t, "", 2)
	w.caughtUp(t)
	w.invoke(t, w.both(), "", "put", "after", "upgrade")
	out, _ := w.fabric.Peer(t, "lifecycle", "chaincode", "querycommitted", "-C", w.net.Channel, "-n", w.name)
	want(t, out, "Version: 2, Sequence: 2")
}

// Header, transactions, validation flags and commit hash of every block are those of a Fabric peer.
func (w *consortium) sameBlocks(t *testing.T) {
	w.caughtUp(t)
	height, err := w.fabric.Height(t)
	network.Must(t, err)
	for number := range height {
		theirs := w.fabric.Block(t, number)
		for _, peer := range []*network.Terminal{w.hospital, w.regulator} {
			ours := peer.Block(t, number)
			if !proto.Equal(theirs.Header, ours.Header) || !proto.Equal(theirs.Data, ours.Data) {
				t.Fatalf("block %d at %s is another one", number, peer.Address)
			}
			for _, index := range []common.BlockMetadataIndex{common.BlockMetadataIndex_TRANSACTIONS_FILTER, common.BlockMetadataIndex_COMMIT_HASH} {
				if string(theirs.Metadata.Metadata[index]) != string(ours.Metadata.Metadata[index]) {
					t.Fatalf("block %d: %v is %x at %s and %x at Fabric's peer", number, index,
						ours.Metadata.Metadata[index], peer.Address, theirs.Metadata.Metadata[index])
				}
			}
		}
	}
	t.Logf("%d blocks are the same", height)
}

var color = regexp.MustCompile("\x1b\\[[0-9;]*m")

func want(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(color.ReplaceAllString(text, ""), part) {
		t.Fatalf("%q is not in:\n%s", part, text)
	}
}

func same(t *testing.T, one, other string) {
	t.Helper()
	first, err := os.ReadFile(one)
	network.Must(t, err)
	second, err := os.ReadFile(other)
	network.Must(t, err)
	if string(first) != string(second) {
		t.Fatalf("%s and %s differ", one, other)
	}
}

// The tests wait for conditions; this bounds them all together.
func TestMain(m *testing.M) {
	time.AfterFunc(15*time.Minute, func() { panic("the tests did not end in fifteen minutes") })
	os.Exit(m.Run())
}
