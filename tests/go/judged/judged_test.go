// Package judged_test gives the cases of crates/protocol/tests/judged, on each of which our code has
// given its verdict, to Fabric's own code.
package judged_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hyperledger/fabric-lib-go/bccsp/factory"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	protos "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric/common/channelconfig"
	"github.com/hyperledger/fabric/msp"
	"google.golang.org/protobuf/proto"
)

type judged struct {
	Kind, Name, Channel               string
	OursAlone                         bool `json:"ours_alone"`
	Version                           int
	Config, Envelope, Updated, Result string
	Proposed, Verdict                 *string
	Identities                        []identity
}

type identity struct {
	Name, Identity    string
	Readable, Verdict *string
	Principals        []principal
}

type principal struct {
	Name, Principal string
	Verdict         *string
}

// The rules of an MSP by our numbers.
var versions = []msp.MSPVersion{msp.MSPv1_0, msp.MSPv1_1, msp.MSPv1_3, msp.MSPv1_4_3, msp.MSPv3_0}

// Each verdict of ours is Fabric's.
func TestVerdicts(t *testing.T) {
	if err := factory.InitFactories(nil); err != nil {
		t.Fatal(err)
	}
	file := os.Getenv("JUDGED")
	if file == "" {
		file = "../../../target/judged/cases.json"
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; cargo test --workspace --test judged writes it", err)
	}
	var cases []judged
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, one := range cases {
		counts[one.Kind]++
		if one.OursAlone {
			continue
		}
		switch one.Kind {
		case "msp":
			one.msp(t)
		case "config":
			_, err := one.bundle(t, one.Config)
			one.same(t, "", one.Verdict, err)
		case "update":
			one.update(t)
		case "compute":
			t.Run("compute "+one.Name, one.compute)
		default:
			t.Fatalf("unknown kind %s", one.Kind)
		}
	}
	for _, kind := range []string{"msp", "config", "update", "compute"} {
		if counts[kind] == 0 {
			t.Errorf("no case of kind %s", kind)
		}
	}
	t.Logf("cases: %v", counts)
}

// Both accept, or both refuse.
func (j judged) same(t *testing.T, what string, ours *string, theirs error) {
	t.Helper()
	switch {
	case ours == nil && theirs != nil:
		t.Errorf("%s %s%s: accepted by us, refused by Fabric: %v", j.Kind, j.Name, what, theirs)
	case ours != nil && theirs == nil:
		t.Errorf("%s %s%s: accepted by Fabric, refused by us: %s", j.Kind, j.Name, what, *ours)
	}
}

func (j judged) msp(t *testing.T) {
	one, err := msp.New(&msp.BCCSPNewOpts{NewBaseOpts: msp.NewBaseOpts{Version: versions[j.Version]}}, factory.GetDefault())
	if err != nil {
		t.Fatal(err)
	}
	config := &protos.MSPConfig{}
	read(t, j.Config, config)
	err = one.Setup(config)
	j.same(t, "", j.Verdict, err)
	if err != nil {
		return
	}
	for _, shown := range j.Identities {
		who := ", " + shown.Name
		serialized := raw(t, shown.Identity)
		id, err := one.DeserializeIdentity(serialized)
		// What cannot be read is not valid; some of it we read, and then find it not valid.
		if err != nil {
			j.same(t, who, shown.Verdict, err)
			continue
		}
		j.same(t, who+", reading", shown.Readable, nil)
		j.same(t, who, shown.Verdict, one.Validate(id))
		for _, asked := range shown.Principals {
			wanted := &protos.MSPPrincipal{}
			read(t, asked.Principal, wanted)
			j.same(t, who+", as "+asked.Name, asked.Verdict, one.SatisfiesPrincipal(id, wanted))
		}
	}
}

func (j judged) bundle(t *testing.T, config string) (*channelconfig.Bundle, error) {
	read := &common.Config{}
	if err := proto.Unmarshal(raw(t, config), read); err != nil {
		return nil, err
	}
	return channelconfig.NewBundle(j.Channel, read, factory.GetDefault())
}

func (j judged) update(t *testing.T) {
	current, err := j.bundle(t, j.Config)
	if err != nil {
		t.Fatal(err)
	}
	submitted := &common.Envelope{}
	read(t, j.Envelope, submitted)
	proposed, err := current.ConfigtxValidator().ProposeConfigUpdate(submitted)
	j.same(t, ", proposed", j.Proposed, err)
	if err != nil {
		return
	}
	ours := &common.ConfigEnvelope{}
	read(t, j.Result, ours)
	if !proto.Equal(ours, proposed) {
		t.Errorf("update %s: another result\n--- Fabric's\n%v\n--- ours\n%v", j.Name, proposed, ours)
	}
	if err := current.ConfigtxValidator().Validate(ours); err != nil {
		t.Errorf("update %s: Fabric's peer refuses our result: %v", j.Name, err)
	}
	next, err := channelconfig.NewBundle(j.Channel, proposed.Config, factory.GetDefault())
	if err == nil {
		// Without an orderer section neither goes on.
		err = current.ValidateNew(next)
	}
	j.same(t, "", j.Verdict, err)
}

// Computed by the program; its code is internal to Fabric.
func (j judged) compute(t *testing.T) {
	programs := os.Getenv("FABRIC_BIN")
	if programs == "" {
		t.Skip("FABRIC_BIN is not set")
	}
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	for name, content := range map[string]string{"original": j.Config, "updated": j.Updated} {
		if err := os.WriteFile(path(name), raw(t, content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said, err := exec.Command(filepath.Join(programs, "configtxlator"), "compute_update",
		"--channel_id", j.Channel, "--original", path("original"), "--updated", path("updated"),
		"--output", path("update")).CombinedOutput()
	j.same(t, ", computed "+string(said), j.Verdict, err)
	if err != nil || j.Verdict != nil {
		return
	}
	written, err := os.ReadFile(path("update"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := &common.ConfigUpdate{}, &common.ConfigUpdate{}
	if err := proto.Unmarshal(written, theirs); err != nil {
		t.Fatal(err)
	}
	read(t, j.Result, ours)
	if !proto.Equal(theirs, ours) {
		t.Errorf("compute %s\n--- Fabric's\n%v\n--- ours\n%v", j.Name, theirs, ours)
	}
}

func raw(t *testing.T, text string) []byte {
	t.Helper()
	bytes, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func read(t *testing.T, text string, into proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(raw(t, text), into); err != nil {
		t.Fatal(err)
	}
}
