package fabric_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/protobuf/proto"

	"consilium/tests/go/contract"
	"consilium/tests/go/network"
)

// Our program under the name `peer` does, says and ends as Fabric's does: every command goes through
// both, and code, output and complaint have to be the same.
func TestCommands(t *testing.T) {
	net := network.Load(t)
	shared := &commands{consortium: &consortium{
		whole: t, net: net, hospital: net.Admin(t, net.Organization(t, "hospital")),
		maker: net.Admin(t, net.Organization(t, "maker")), regulator: net.Admin(t, net.Organization(t, "regulator")),
		name: fmt.Sprintf("judged%d", os.Getpid()), port: network.FreePort(t),
	}}
	for _, step := range []struct {
		name string
		run  func(*commands, *testing.T)
	}{
		{"packages of both hold the same", (*commands).packages},
		{"a definition goes through both", (*commands).lifecycle},
		{"questions about chaincodes", (*commands).chaincodeQuestions},
		{"questions about channels", (*commands).channelQuestions},
		{"calls of chaincodes", (*commands).calls},
		{"who asks and where", (*commands).environments},
		{"discovery", (*commands).discoveries},
		{"blocks of both are the same", (*commands).blocks},
		{"configuration updates go from one to the other", (*commands).updates},
	} {
		if !t.Run(step.name, func(inner *testing.T) { step.run(shared, inner) }) {
			return
		}
	}
}

type commands struct {
	*consortium
	// A package that both programs have installed.
	file string
}

// What a program did.
type outcome struct {
	code      int
	out       string
	complaint string
	notes     []string
}

func (o outcome) String() string {
	return fmt.Sprintf("code %d\nout %q\ncomplaint %q\nnotes %q", o.code, o.out, o.complaint, o.notes)
}

var (
	// What begins a line of Fabric's log, and where it ends with the name of a function.
	logged = regexp.MustCompile(`^\S+ \S+ UTC [0-9a-f]{4} (\w+) \[[^\]]+\] (?:[\w.]+ -> )?`)
	// Of every transaction another.
	txID = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	// Go puts one blank or two between the fields of a message.
	blanks = regexp.MustCompile(` +`)
	// Each program tells in its own words why nobody answers, what is wrong with a policy or an archive,
	// and what else is in a response.
	ownWords = regexp.MustCompile(`(invalid signature policy: OR\(|failed to create new connection|proposal response: version:1|reading as gzip stream).*`)
)

func try(t *testing.T, at *network.Terminal, args ...string) outcome {
	t.Helper()
	code, out, said := at.Run(t, args...)
	said = color.ReplaceAllString(said, "")
	for _, end := range []string{"\nUsage:\n", "\nFor more information"} {
		said, _, _ = strings.Cut(said, end)
	}
	told := outcome{code: code, out: out}
	for _, line := range strings.Split(said, "\n") {
		line = txID.ReplaceAllString(blanks.ReplaceAllString(line, " "), "TX")
		complaint, isComplaint := strings.CutPrefix(line, "Error: ")
		if level := logged.FindStringSubmatch(line); level != nil {
			line = line[len(level[0]):]
			complaint, isComplaint = line, level[1] == "ERRO" && code != 0 && told.complaint == ""
		}
		switch line = strings.TrimSpace(line); {
		case isComplaint:
			told.complaint = ownWords.ReplaceAllString(complaint, "$1")
		case line != "":
			told.notes = append(told.notes, line)
		}
	}
	return told
}

// Runs a command with both programs, whose outcomes have to be the same; whatever ours notes on the
// way, Fabric's notes, too. It has to end with that code, and show that text.
func (w *commands) both(t *testing.T, at *network.Terminal, code int, shows string, args ...string) {
	t.Helper()
	theirs, ours := try(t, at, args...), try(t, at.Ours(t), args...)
	if ours.code != theirs.code || ours.out != theirs.out || ours.complaint != theirs.complaint {
		t.Errorf("peer %q\n--- Fabric's\n%v\n--- ours\n%v", args, theirs, ours)
		return
	}
	for _, note := range ours.notes {
		if !slices.Contains(theirs.notes, note) {
			t.Errorf("peer %q: only ours notes %q\n--- Fabric's\n%v", args, note, theirs)
		}
	}
	if shown := ours.out + ours.complaint + strings.Join(ours.notes, "\n"); ours.code != code || !strings.Contains(shown, shows) {
		t.Errorf("peer %q: code %d and %q wanted, not\n%v", args, code, shows, ours)
	}
}

// Makes files below a folder.
func source(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		file := filepath.Join(folder, name)
		network.Must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		network.Must(t, os.WriteFile(file, []byte(content), 0o600))
	}
	return folder
}

// The files of an archive.
func unpacked(t *testing.T, packed []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	network.Must(t, err)
	files := map[string]string{}
	for tape := tar.NewReader(zip); ; {
		header, err := tape.Next()
		if err == io.EOF {
			return files
		}
		network.Must(t, err)
		content, err := io.ReadAll(tape)
		network.Must(t, err)
		if header.Typeflag == tar.TypeReg {
			files[header.Name] = fmt.Sprintf("%o %s", header.Mode&0o777, content)
		}
	}
}

func (w *commands) packages(t *testing.T) {
	index := `{"index":{"fields":["size"]},"name":"size","type":"json"}`
	for _, of := range []struct {
		lang, within string
		files        map[string]string
		holds        []string
	}{
		{"node", "", map[string]string{
			"package.json": "{}", "lib/index.js": "// notes", "node_modules/x/index.js": "", ".git/HEAD": "",
			"META-INF/statedb/couchdb/indexes/size.json": index, "META-INF/.hidden": "",
		}, []string{"META-INF/statedb/couchdb/indexes/size.json", "src/lib/index.js", "src/package.json"}},
		{"java", "", map[string]string{
			"pom.xml": "<project/>", "src/main/java/Notes.java": "", "target/Notes.jar": "", "Notes.class": "",
		}, []string{"src/pom.xml", "src/src/main/java/Notes.java"}},
		{"golang", "cmd/notes", map[string]string{
			"go.mod": "module example.org/notes\n\ngo 1.21\n", "cmd/notes/main.go": "package main\n\nfunc main() {}\n",
			"cmd/notes/META-INF/statedb/couchdb/collections/pair/indexes/size.json": index, ".idea/x": "", "README": "",
		}, []string{"META-INF/statedb/couchdb/collections/pair/indexes/size.json", "src/README", "src/cmd/notes/main.go", "src/go.mod"}},
	} {
		folder := source(t, of.files)
		made := func(at *network.Terminal) map[string]string {
			file := filepath.Join(t.TempDir(), "package.tar.gz")
			at.Peer(t, "lifecycle", "chaincode", "package", file, "--lang", of.lang, "--label", "notes_1.0",
				"--path", filepath.Join(folder, of.within))
			w.both(t, w.hospital, 0, "notes_1.0:", "lifecycle", "chaincode", "calculatepackageid", file)
			w.both(t, w.hospital, 0, `"package_id": "notes_1.0:`, "lifecycle", "chaincode", "calculatepackageid", file, "-O", "json")
			packed, err := os.ReadFile(file)
			network.Must(t, err)
			outer := unpacked(t, packed)
			inner := unpacked(t, []byte(strings.SplitN(outer["code.tar.gz"], " ", 2)[1]))
			for name, content := range inner {
				outer["code/"+name] = content
			}
			delete(outer, "code.tar.gz")
			return outer
		}
		theirs, ours := made(w.hospital), made(w.hospital.Ours(t))
		if !maps.Equal(theirs, ours) {
			t.Fatalf("%s: Fabric's package holds\n%q\nand ours\n%q", of.lang, theirs, ours)
		}
		for _, name := range of.holds {
			if _, found := ours["code/"+name]; !found {
				t.Fatalf("%s: %s is not in %q", of.lang, name, ours)
			}
		}
	}
	nothing, file := source(t, nil), filepath.Join(t.TempDir(), "package.tar.gz")
	junk := filepath.Join(source(t, map[string]string{"junk": "no package"}), "junk")
	pack := []string{"lifecycle", "chaincode", "package"}
	calculate := []string{"lifecycle", "chaincode", "calculatepackageid"}
	for _, of := range []struct {
		args  []string
		shows string
	}{
		{pack, "invalid number of args. expected only the output file"},
		{append(pack, file, "--lang", "node", "--label", "a"), "chaincode path must be specified"},
		{append(pack, file, "--lang", "node", "--path", nothing), "package label must be specified"},
		{append(pack, file, "--lang", "node", "--path", nothing, "--label", "a b"), "invalid label 'a b'"},
		{append(pack, file, "--lang", "cobol", "--path", nothing, "--label", "a"), "unknown chaincodeType: COBOL"},
		{calculate, "invalid number of args. expected only the packaged chaincode file"},
		{append(calculate, filepath.Join(nothing, "absent")), "no such file or directory"},
		{append(calculate, junk), "could not parse as a chaincode install package: error reading as gzip stream"},
	} {
		w.both(t, w.hospital, 1, of.shows, of.args...)
	}
}

// Every step by one program, seen by the other.
func (w *commands) lifecycle(t *testing.T) {
	chaincode := func(at *network.Terminal, command string, args ...string) string {
		out, said := at.Peer(t, append([]string{"lifecycle", "chaincode", command}, args...)...)
		return out + said
	}
	// A service is packaged by our program alone; a peer of Fabric takes it under the id that both compute.
	address := fmt.Sprintf(`{"address":"localhost:%d","dial_timeout":"10s","tls_required":false}`, w.port)
	folder := source(t, map[string]string{"connection.json": address})
	w.file = filepath.Join(w.whole.TempDir(), w.name+".tar.gz")
	chaincode(w.hospital.Ours(t), "package", w.file, "--lang", "ccaas", "--label", w.name, "--path", folder)
	w.packageID = strings.TrimSpace(chaincode(w.hospital, "calculatepackageid", w.file))
	w.fabric = network.NewFabricPeer(w.whole, w.net, w.regulator.Org)
	want(t, chaincode(w.fabric.Terminal.Ours(t), "install", w.file), "Chaincode code package identifier: "+w.packageID)
	want(t, chaincode(w.fabric.Terminal, "queryinstalled"), "Package ID: "+w.packageID+", Label: "+w.name)
	go func() {
		// Ends with the process; a failure shows in the first call.
		_ = contract.Serve(w.packageID, w.port)
	}()
	programs := []*network.Terminal{w.hospital.Ours(t), w.maker, w.regulator.Ours(t)}
	for at, admin := range programs {
		want(t, chaincode(admin, "install", w.file), "Chaincode code package identifier: "+w.packageID)
		w.both(t, admin, 0, "Package ID: "+w.packageID+", Label: "+w.name, "lifecycle", "chaincode", "queryinstalled")
		approve := append(w.definition(t, 1), "--package-id", w.packageID)
		if at != 0 {
			// Without the flag the channel's configuration names an orderer, and the rest is as told.
			approve = append(approve, admin.Orderer()...)
		} else {
			approve = append(approve, admin.Orderer()[2:]...)
		}
		want(t, chaincode(admin, "approveformyorg", approve...), "committed with status (VALID) at "+admin.Address)
		readiness := slices.Clip(append([]string{"lifecycle", "chaincode", "checkcommitreadiness"}, w.definition(t, 1)...))
		w.both(t, admin, 0, admin.Org.MSPID+": true", readiness...)
		w.both(t, admin, 0, `"`+admin.Org.MSPID+`": true`, append(readiness, "--output", "json")...)
	}
	commit := append(w.definition(t, 1), w.hospital.Orderer()...)
	for _, admin := range programs {
		commit = append(commit, w.endorser(admin)...)
	}
	said := chaincode(w.hospital.Ours(t), "commit", commit...)
	for _, admin := range programs {
		want(t, said, "committed with status (VALID) at "+admin.Address)
	}
}

// A definition with other flags than the approved one's.
func (w *commands) other(t *testing.T, sequence int, more ...string) []string {
	t.Helper()
	return append([]string{"-C", w.net.Channel, "-n", w.name, "-v", "9", "--sequence", fmt.Sprint(sequence)}, more...)
}

func (w *commands) chaincodeQuestions(t *testing.T) {
	channel, named := []string{"-C", w.net.Channel}, []string{"-C", w.net.Channel, "-n", w.name}
	folder := source(t, map[string]string{"junk": "no package", "collections": "{"})
	at := func(name string) string { return filepath.Join(folder, name) }
	for _, of := range []struct {
		code  int
		shows string
		words string
		args  []string
	}{
		{0, "Committed chaincode definitions on channel", "querycommitted", channel},
		{0, w.name, "querycommitted", append(channel, "-O", "json")},
		{0, "Approvals: [HospitalMSP: true, MakerMSP: true, RegulatorMSP: true]", "querycommitted", named},
		{0, "StaticCollectionConfig", "querycommitted", append(named, "-O", "JSON")},
		{1, "channel name must be specified", "querycommitted", nil},
		{1, "namespace nowhere is not defined", "querycommitted", append(channel, "-n", "nowhere")},
		{1, "channel 'nowhere' not found", "querycommitted", []string{"-C", "nowhere"}},
		{0, "package-id: " + w.packageID, "queryapproved", named},
		{0, w.packageID, "queryapproved", append(named, "--sequence", "1", "--output", "json")},
		{0, "name: " + w.name, "queryapproved", channel},
		{0, w.name, "queryapproved", append(channel, "-O", "json")},
		{1, "could not fetch approved chaincode definition", "queryapproved", append(named, "--sequence", "7")},
		{1, "Specifying parameter 'sequence' is invalid without parameter 'name'", "queryapproved", append(channel, "--sequence", "1")},
		{1, "The required parameter 'channelID' is empty", "queryapproved", nil},
		{1, "invalid argument", "queryapproved", append(named, "--sequence", "one")},
		{0, "approval status by org", "checkcommitreadiness", w.other(t, 2)},
		{0, "mismatch: [", "checkcommitreadiness", w.other(t, 2, "--inspect")},
		{0, "approvals", "checkcommitreadiness", w.other(t, 2, "-O", "json", "--inspect")},
		{1, "requested sequence is 1, but new definition must be sequence 2", "checkcommitreadiness", w.other(t, 1)},
		{1, "The required parameter 'version' is empty", "checkcommitreadiness", named},
		{1, "The required parameter 'sequence' is empty", "checkcommitreadiness", append(named, "-v", "1")},
		{1, "invalid signature policy: OR(", "checkcommitreadiness", w.other(t, 2, "--signature-policy", "OR(")},
		{1, "cannot specify both", "checkcommitreadiness", w.other(t, 2, "--signature-policy", "OR('A.peer')", "--channel-config-policy", "x")},
		{1, "no such file or directory", "checkcommitreadiness", w.other(t, 2, "--collections-config", at("absent"))},
		{1, "requested sequence 5 is larger than the next available sequence number 2", "approveformyorg", append(w.definition(t, 5), w.hospital.Orderer()...)},
		{1, "chaincode definition not agreed to by this org (HospitalMSP)", "commit", append(w.definition(t, 2), w.hospital.Orderer()...)},
		{1, "number of peer addresses (2) does not match the number of TLS root cert files (1)", "commit",
			append(w.other(t, 2), "--peerAddresses", "a:1", "--peerAddresses", "b:2")},
		{1, "chaincode already successfully installed (package ID '" + w.name + ":TX')", "install", []string{w.file}},
		{1, "chaincode install package must be provided", "install", nil},
		{1, "no such file or directory", "install", []string{at("absent")}},
		{1, "could not parse as a chaincode install package", "install", []string{at("junk")}},
		{1, "'install' command supports one peer. 2 peers provided", "install", []string{w.file, "--peerAddresses", "a:1", "--peerAddresses", "b:2"}},
		{1, "The required parameter 'package-id' is empty", "getinstalledpackage", nil},
		{1, "chaincode install package 'nothing:00' not found", "getinstalledpackage", []string{"--package-id", "nothing:00"}},
		{0, w.packageID, "queryinstalled", []string{"-O", "json"}},
		{1, "unknown flag: --nonsense", "queryinstalled", []string{"--nonsense"}},
	} {
		w.both(t, w.hospital, of.code, of.shows, append([]string{"lifecycle", "chaincode", of.words}, of.args...)...)
	}
	folder = t.TempDir()
	w.hospital.Ours(t).Peer(t, "lifecycle", "chaincode", "getinstalledpackage", "--package-id", w.packageID, "--output-directory", folder)
	same(t, w.file, filepath.Join(folder, w.packageID+".tar.gz"))
}

func (w *commands) channelQuestions(t *testing.T) {
	genesis := filepath.Join(w.net.Dir, "channel", w.net.Channel+".block")
	folder := source(t, map[string]string{"junk": "no block"})
	at := func(name string) string { return filepath.Join(folder, name) }
	for _, of := range []struct {
		code  int
		shows string
		args  []string
	}{
		{0, "Channels peers has joined: ", []string{"list"}},
		{1, "trailing args detected: [more than that]", []string{"list", "more", "than", "that"}},
		{0, `Blockchain info: {"height":`, []string{"getinfo", "-c", w.net.Channel}},
		{1, "Must supply channel ID", []string{"getinfo"}},
		{1, "Invalid chain ID, nowhere", []string{"getinfo", "-c", "nowhere"}},
		{1, "flag needs an argument: ", []string{"getinfo", "--channelID"}},
		{1, "Must supply genesis block path", []string{"join"}},
		{1, "genesis block file not found open", []string{"join", "-b", at("absent")}},
		{1, "proposal failed (err: bad proposal response 500:", []string{"join", "-b", at("junk")}},
		{1, "ledger [" + w.net.Channel + "] already exists with state [ACTIVE]", []string{"join", "-b", genesis}},
		{1, "the required parameter 'snapshotpath' is empty", []string{"joinbysnapshot"}},
		{0, "No joinbysnapshot operation is in progress", []string{"joinbysnapshotstatus"}},
		{1, "fetch target required", []string{"fetch"}},
		{1, "trailing args detected", []string{"fetch", "newest", "one", "two"}},
		{1, "fetch target illegal: latest", []string{"fetch", "latest", "-c", w.net.Channel}},
		{1, "can't read the block: &{NOT_FOUND}", []string{"fetch", "newest", at("block"), "-c", "nowhere"}},
		{1, "unable to load orderer.tls.rootcert.file: open", []string{"fetch", "newest", at("block"), "-c", w.net.Channel, "-o", w.hospital.Orderer()[1], "--tls"}},
		{1, "orderer client failed to connect to localhost:1", []string{"fetch", "newest", at("block"), "-c", w.net.Channel, "-o", "localhost:1", "--connTimeout", "1s"}},
		{1, "No configtx file name supplied", []string{"signconfigtx"}},
		{1, "channel create configuration tx file not found open", []string{"signconfigtx", "-f", at("absent")}},
		{1, "Must supply channel ID", []string{"update", "-f", at("junk")}},
		{1, "No configtx file name supplied", []string{"update", "-c", w.net.Channel}},
		{1, "Invalid channel create transaction : bad type", []string{"signconfigtx", "-f", w.envelope(t)}},
	} {
		w.both(t, w.hospital, of.code, of.shows, append([]string{"channel"}, of.args...)...)
	}
	w.both(t, w.hospital, 0, "", "channel", "fetch", "newest", at("block"), "-c", w.net.Channel)
	w.both(t, w.hospital, 1, `unknown command "nonsense" for "peer"`, "nonsense")
}

// A file with an envelope that is no configuration update: the newest transaction.
func (w *commands) envelope(t *testing.T) string {
	t.Helper()
	height, err := w.hospital.Height(t)
	network.Must(t, err)
	file := filepath.Join(t.TempDir(), "envelope")
	network.Must(t, os.WriteFile(file, w.hospital.Block(t, height-1).Data.Data[0], 0o600))
	return file
}

func (w *commands) calls(t *testing.T) {
	both := []*network.Terminal{w.hospital, w.regulator}
	orders := append([]string{"-C", w.net.Channel, "-n", w.name}, w.hospital.Orderer()...)
	for _, endorser := range both {
		orders = append(orders, w.endorser(endorser)...)
	}
	orders = slices.Clip(orders)
	call := func(args ...string) []string { return []string{"-c", callOf(t, args)} }
	alone := slices.Clip(append([]string{"-C", w.net.Channel, "-n", w.name}, w.hospital.Orderer()...))
	for _, of := range []struct {
		code  int
		shows string
		args  []string
	}{
		{0, "Chaincode invoke successful. result: status:200", append(orders, call("put", "color", "blue")...)},
		{0, `result: status:200 payload:"0"`, append(orders, call("count", "x", "y", "none")...)},
		{0, "committed with status (VALID) at " + w.regulator.Address, append(append(orders, call("put", "color", "green")...), "--waitForEvent")},
		{0, "committed with status (VALID) at " + w.hospital.Address, append(append(orders, call("putPrivate", "either", "a")...), "--waitForEvent", "--transient", `{"value":"c2VjcmV0"}`)},
		{1, "transaction invalidated with status (ENDORSEMENT_POLICY_FAILURE)", append(append(alone, call("put", "color", "red")...), "--waitForEvent")},
		{1, `endorsement failure during invoke. response: status:500 message:"no function nonsense"`, append(orders, call("nonsense")...)},
		{1, "error parsing transient string: ", append(append(orders, call("put", "a", "b")...), "--transient", `{"value":"?"}`)},
		{1, "unable to load orderer.tls.clientKey.file: open", append(append(alone, "--keyfile", "/nowhere"), call("put", "a", "b")...)},
		{1, "The required parameter 'channelID' is empty", call("put", "a", "b")},
	} {
		w.both(t, w.hospital, of.code, of.shows, append([]string{"chaincode", "invoke"}, of.args...)...)
	}
	for _, at := range []*network.Terminal{w.hospital, w.hospital.Ours(t)} {
		args := append(append([]string{"chaincode", "invoke"}, orders...), call("differ", "x")...)
		if code, _, said := at.Run(t, args...); code != 1 || !strings.Contains(said, "could not assemble transaction: ProposalResponsePayloads do not match (base64): '") {
			t.Fatalf("peers answered differently: %d %s", code, said)
		}
	}
	asked := []string{"-C", w.net.Channel, "-n", w.name}
	get := slices.Clip(append(asked, call("get", "color")...))
	w.holds(t, w.hospital, "green", "get", "color")
	for _, of := range []struct {
		code  int
		shows string
		args  []string
	}{
		{0, "green\n", get},
		{0, "677265656e\n", append(get, "--hex")},
		{0, "[103 114 101 101 110]\n", append(get, "-r")},
		{1, "options --raw (-r) and --hex (-x) are not compatible", append(get, "-r", "-x")},
		{1, `endorsement failure during query. response: status:500 message:"nothing there"`, append(asked, call("get", "nothing")...)},
		{1, "The required parameter 'channelID' is empty", call("get", "color")},
		{1, "must supply value for chaincode name parameter", append([]string{"-C", w.net.Channel}, call("get")...)},
		{1, "empty JSON chaincode parameters must contain", asked},
		{1, "non-empty JSON chaincode parameters must contain", append(asked, "-c", `{"Function":"get"}`)},
		{1, "chaincode argument error: unexpected end of JSON input", append(asked, "-c", `{"Args":["get"`)},
		{1, "chaincode argument error: json: cannot unmarshal number into Go struct field .Args of type string", append(asked, "-c", `{"Args":[1]}`)},
		{1, "nowhere", append([]string{"-C", w.net.Channel, "-n", "nowhere"}, call("get")...)},
		{1, "channel 'nowhere' not found", append([]string{"-C", "nowhere", "-n", w.name}, call("get")...)},
		{1, "'query' command can only be executed against one peer. received 2", append(get, "--peerAddresses", "a:1", "--peerAddresses", "b:2")},
		{1, "tls root cert file must be set", append(get, "--peerAddresses", w.hospital.Address)},
		{1, "unknown shorthand flag: 'z' in -z", append(get, "-z")},
	} {
		w.both(t, w.hospital, of.code, of.shows, append([]string{"chaincode", "query"}, of.args...)...)
	}
	profile := filepath.Join(source(t, map[string]string{"profile.yaml": fmt.Sprintf(
		"channels: {%s: {peers: {one: {endorsingPeer: true}}}}\npeers: {one: {url: %q, tlsCACerts: {path: %q}}}\n",
		w.net.Channel, w.regulator.Address, w.net.TLSRoot(w.regulator.Org))}), "profile.yaml")
	w.both(t, w.hospital.With("CORE_PEER_ADDRESS=localhost:1"), 0, "green", append([]string{"chaincode", "query", "--connectionProfile", profile}, get...)...)
	w.both(t, w.hospital, 1, "--targetPeer must be specified", "lifecycle", "chaincode", "queryinstalled", "--connectionProfile", profile)
}

func (w *commands) environments(t *testing.T) {
	folder := t.TempDir()
	for _, of := range []struct {
		variable, shows string
	}{
		{"CORE_PEER_ADDRESS=localhost:1", "endorser client failed to connect to localhost:1"},
		{"CORE_PEER_LOCALMSPID=NobodyMSP", "creator org unknown, creator is malformed"},
		{"CORE_PEER_LOCALMSPID=MakerMSP", "access denied"},
		{"CORE_PEER_LOCALMSPID=", "Cannot run peer because the local MSP must have an ID"},
		{"CORE_PEER_MSPCONFIGPATH=" + filepath.Join(folder, "absent"), "does not exist or cannot be accessed"},
		{"CORE_PEER_TLS_ROOTCERT_FILE=" + filepath.Join(folder, "absent"), "unable to load peer.tls.rootcert.file: open"},
		{"CORE_PEER_TLS_CLIENTKEY_FILE=" + filepath.Join(folder, "absent"), "unable to load peer.tls.clientKey.file: open"},
		{"CORE_PEER_TLS_SERVERHOSTOVERRIDE=elsewhere.example", "endorser client failed to connect to " + w.hospital.Address},
		{"FABRIC_CFG_PATH=" + folder, `Config File "core" Not Found in`},
		{"FABRIC_CFG_PATH=" + filepath.Join(folder, "absent"), "does not exist"},
	} {
		at := w.hospital.With(of.variable, "CORE_PEER_CLIENT_CONNTIMEOUT=1s")
		w.both(t, at, 1, of.shows, "chaincode", "query", "-C", w.net.Channel, "-n", w.name, "-c", callOf(t, []string{"get", "color"}))
	}
	for _, args := range [][]string{{}, {"chaincode"}, {"lifecycle", "chaincode"}, {"channel", "--help"}, {"version"}} {
		for _, at := range []*network.Terminal{w.hospital, w.hospital.Ours(t)} {
			if code, out, said := at.Run(t, args...); code != 0 || out == "" || said != "" {
				t.Fatalf("peer %q: %d %q %q", args, code, out, said)
			}
		}
	}
}

// Fabric's `discover` and ours print the same. Heights are left out: they grow while one asks.
func (w *commands) discoveries(t *testing.T) {
	ours := w.hospital.Ours(t)
	channel := []string{"--channel", w.net.Channel}
	endorsers := func(of ...string) []string { return slices.Concat([]string{"endorsers"}, channel, of) }
	for _, question := range []struct {
		args   []string
		read   func(*testing.T, string) any
		within string
	}{
		{slices.Concat([]string{"config"}, channel), configuration, w.maker.Org.MSPID},
		{slices.Concat([]string{"peers"}, channel), peers, w.maker.Address},
		{[]string{"peers"}, peers, w.hospital.Address},
		{endorsers("--chaincode", w.name), layouts, w.regulator.Address},
		{endorsers("--chaincode", w.name, "--chaincode", "kv", "--collection", w.name+":either,kept", "--noPrivateReads", w.name), layouts, w.hospital.Address},
		{endorsers("--chaincode", "nowhere"), layouts, "server returned: failed constructing descriptor for chaincodes:"},
		{endorsers("--chaincode", "kv", "--collection", "other:c"), layouts, "a collection specified chaincode other but it wasn't specified with a chaincode flag"},
		{endorsers("--chaincode", "kv", "--noPrivateReads", "other"), layouts, "chaincode other is specified as not containing private data reads"},
		{endorsers(), layouts, "failed creating request: invocation chain should not be empty"},
		{[]string{"endorsers", "--chaincode", "kv"}, layouts, "no channel specified"},
		{[]string{"config"}, configuration, "no channel specified"},
		{[]string{"config", "--channel", "nowhere"}, configuration, "access denied"},
	} {
		network.Eventually(t, fmt.Sprint(question.args), func() error {
			theirs, ours := answer(t, w.hospital, question.read, question.args), answer(t, ours, question.read, question.args)
			if !reflect.DeepEqual(ours, theirs) {
				return fmt.Errorf("ours prints\n%v\nand Fabric's\n%v", ours, theirs)
			}
			if shown := fmt.Sprint(ours); !strings.Contains(shown, question.within) {
				return fmt.Errorf("%q is not in %s", question.within, shown)
			}
			return nil
		})
	}
	// Where nothing is left to chance, to the byte.
	config := slices.Concat([]string{"config"}, channel)
	if theirs, _ := w.hospital.Discover(t, config...); theirs == "" {
		t.Fatal("no configuration")
	} else if own, _ := ours.Discover(t, config...); own != theirs {
		t.Fatalf("ours prints\n%s\nand Fabric's\n%s", own, theirs)
	}
	// Either reads what the other saved.
	for _, of := range [][2]*network.Terminal{{w.hospital, ours}, {ours, w.hospital}} {
		file := filepath.Join(t.TempDir(), "conf.yaml")
		if said := of[0].SaveDiscover(t, file); said != "" {
			t.Fatal(said)
		}
		out, said := of[1].DiscoverBy(t, file, config...)
		if out == "" {
			t.Fatalf("a saved configuration does not serve: %s", said)
		}
	}
}

// What `fetch` writes.
func fetched(t *testing.T, at *network.Terminal, args ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "block")
	at.Peer(t, append([]string{"channel", "fetch", args[0], file}, args[1:]...)...)
	content, err := os.ReadFile(file)
	network.Must(t, err)
	return content
}

func (w *commands) blocks(t *testing.T) {
	for _, target := range []string{"oldest", "newest", "config", "0", "3"} {
		for _, from := range [][]string{nil, w.hospital.Orderer()} {
			args := append([]string{target, "-c", w.net.Channel, "--bestEffort"}, from...)
			theirs, ours := fetched(t, w.hospital, args...), fetched(t, w.hospital.Ours(t), args...)
			if len(ours) == 0 || !bytes.Equal(theirs, ours) {
				t.Fatalf("block %s of %q is another one", target, from)
			}
		}
	}
}

// A file with an update that gives blocks another batch timeout.
func (w *commands) update(t *testing.T, timeout string) string {
	t.Helper()
	block := &common.Block{}
	network.Must(t, proto.Unmarshal(fetched(t, w.hospital.Ours(t), "config", "-c", w.net.Channel), block))
	unwrap := func(bytes []byte, into proto.Message) { network.Must(t, proto.Unmarshal(bytes, into)) }
	wrap := func(message proto.Message) []byte {
		bytes, err := proto.Marshal(message)
		network.Must(t, err)
		return bytes
	}
	envelope, payload, config := &common.Envelope{}, &common.Payload{}, &common.ConfigEnvelope{}
	unwrap(block.Data.Data[0], envelope)
	unwrap(envelope.Payload, payload)
	unwrap(payload.Data, config)
	root := config.Config.ChannelGroup
	now := root.Groups["Orderer"]
	group := func(values map[string]*common.ConfigValue) *common.ConfigGroup {
		return &common.ConfigGroup{Version: root.Version, Groups: map[string]*common.ConfigGroup{
			"Orderer": {Version: now.Version, Values: values},
		}}
	}
	update := &common.ConfigUpdate{ChannelId: w.net.Channel, ReadSet: group(nil), WriteSet: group(map[string]*common.ConfigValue{
		"BatchTimeout": {
			Version: now.Values["BatchTimeout"].Version + 1, ModPolicy: now.Values["BatchTimeout"].ModPolicy,
			Value: wrap(&orderer.BatchTimeout{Timeout: timeout}),
		},
	})}
	header := wrap(&common.ChannelHeader{Type: int32(common.HeaderType_CONFIG_UPDATE), ChannelId: w.net.Channel})
	file := filepath.Join(t.TempDir(), "update")
	network.Must(t, os.WriteFile(file, wrap(&common.Envelope{Payload: wrap(&common.Payload{
		Header: &common.Header{ChannelHeader: header}, Data: wrap(&common.ConfigUpdateEnvelope{ConfigUpdate: wrap(update)}),
	})}), 0o600))
	return file
}

func (w *commands) updates(t *testing.T) {
	orders := slices.Clip(append([]string{"channel", "update", "-c", w.net.Channel}, w.hospital.Orderer()...))
	// One organization is no majority.
	lonely := w.update(t, "900ms")
	w.both(t, w.hospital, 1, "got unexpected status: BAD_REQUEST -- error applying config update to existing channel", append(orders, "-f", lonely)...)
	w.both(t, w.hospital, 1, "mismatched channel ID", "channel", "update", "-c", "nowhere", "-f", lonely)
	height, err := w.hospital.Height(t)
	network.Must(t, err)
	for at, signers := range [][2]*network.Terminal{{w.maker, w.hospital.Ours(t)}, {w.maker.Ours(t), w.hospital}} {
		file := w.update(t, fmt.Sprintf("%dms", 800+at))
		signers[0].Peer(t, "channel", "signconfigtx", "-f", file)
		_, said := signers[1].Peer(t, append(orders, "-f", file)...)
		want(t, said, "Successfully submitted channel update")
		height++
		network.Eventually(t, "the update is in a block", func() error {
			found, err := w.hospital.Height(t)
			if err == nil && found < height {
				err = fmt.Errorf("height %d of %d", found, height)
			}
			return err
		})
	}
	// So that other tests find what they left.
	file := w.update(t, "1s")
	w.maker.Ours(t).Peer(t, "channel", "signconfigtx", "-f", file)
	w.hospital.Ours(t).Peer(t, append(orders, "-f", file)...)
}
