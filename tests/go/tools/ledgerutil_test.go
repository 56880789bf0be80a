package tools_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hyperledger/fabric/common/ledger/util"
	"github.com/hyperledger/fabric/core/ledger/kvledger/txmgmt/privacyenabledstate"

	"consilium/tests/go/network"
)

// A record of a snapshot: namespace, key, value, block and transaction.
type record struct {
	namespace, key, value string
	block, tx             uint64
}

// Writes a snapshot with Fabric's writer.
func snapshot(t *testing.T, public, private []record, about map[string]any) string {
	t.Helper()
	folder := t.TempDir()
	hashes := map[string]string{}
	for name, records := range map[string][]record{"public_state": public, "private_state_hashes": private} {
		writer, err := privacyenabledstate.NewSnapshotWriter(folder, name+".data", name+".metadata", func() (hash.Hash, error) { return sha256.New(), nil })
		network.Must(t, err)
		for _, one := range records {
			version := append(util.EncodeOrderPreservingVarUint64(one.block), util.EncodeOrderPreservingVarUint64(one.tx)...)
			network.Must(t, writer.AddData(one.namespace, &privacyenabledstate.SnapshotRecord{Key: []byte(one.key), Value: []byte(one.value), Version: version}))
		}
		data, metadata, err := writer.Done()
		network.Must(t, err)
		writer.Close()
		hashes[name+".data"], hashes[name+".metadata"] = fmt.Sprintf("%x", data), fmt.Sprintf("%x", metadata)
	}
	whole := map[string]any{
		"channel_name": "health", "last_block_number": 9, "last_block_hash": "0a", "previous_block_hash": "0b",
		"snapshot_files_raw_hashes": hashes, "state_db_type": "SimpleKeyValueDB",
	}
	maps.Copy(whole, about)
	encoded, err := json.Marshal(whole)
	network.Must(t, err)
	write(t, filepath.Join(folder, "_snapshot_signable_metadata.json"), string(encoded))
	return folder
}

func TestSnapshotsAreComparedAsByFabrics(t *testing.T) {
	both := programs(t)
	public := []record{
		{"", "resourcesconfigtx.CHANNEL_CONFIG_KEY", "config", 0, 0}, {"kv", "a", "<1>", 3, 0}, {"kv", "b", "2", 5, 1}, {"kv", "d", "4", 7, 2}, {"notes", "x", "9", 8, 0},
	}
	other := []record{
		{"", "resourcesconfigtx.CHANNEL_CONFIG_KEY", "config", 0, 0}, {"kv", "a", "<1>", 3, 0}, {"kv", "b", "3", 4, 0}, {"kv", "c", "ü", 6, 1}, {"kw", "d", "4", 7, 2},
	}
	private := []record{{"kv$$hsecret", "\x01\x02", "\xff", 2, 0}}
	otherPrivate := []record{{"kv$$hsecret", "\x01\x02", "\xfe", 2, 1}, {"kv$$hsecret", "\x01\x03", "\xff", 9, 0}}
	one := snapshot(t, public, private, nil)
	for _, compared := range []struct {
		name    string
		against string
		options []string
		code    int
	}{
		{"the same", snapshot(t, public, private, nil), nil, 0},
		{"public", snapshot(t, other, private, nil), nil, 2},
		{"private", snapshot(t, public, otherPrivate, nil), nil, 2},
		{"all", snapshot(t, other, otherPrivate, nil), []string{"-f", "3"}, 2},
		{"no first", snapshot(t, other, otherPrivate, nil), []string{"--firstDiffs=0"}, 2},
		{"another channel", snapshot(t, public, private, map[string]any{"channel_name": "other"}), nil, 1},
		{"another height", snapshot(t, public, private, map[string]any{"last_block_number": 8}), nil, 1},
		{"another hash", snapshot(t, public, private, map[string]any{"last_block_hash": "0c"}), nil, 1},
		{"another database", snapshot(t, public, private, map[string]any{"state_db_type": "CouchDB"}), nil, 1},
		{"no snapshot", t.TempDir(), nil, 1},
	} {
		var results [2]map[string]string
		var outcomes [2]outcome
		for i, program := range []string{both.theirs, both.ours} {
			folder := filepath.Join(t.TempDir(), "results")
			network.Must(t, os.Mkdir(folder, 0o755))
			line := append([]string{"compare", one, compared.against, "-o", folder}, compared.options...)
			outcomes[i] = run(t, "", filepath.Join(program, "ledgerutil"), nil, line...)
			outcomes[i].out = strings.ReplaceAll(outcomes[i].out, folder, "FOLDER")
			results[i] = map[string]string{}
			for name, mode := range files(t, folder) {
				if mode.IsRegular() {
					results[i][name] = string(read(t, filepath.Join(folder, name)))
				}
			}
			if compared.code == 2 {
				again := run(t, "", filepath.Join(program, "ledgerutil"), nil, line...)
				if again.code != 1 || !strings.Contains(again.out, "already exists in") {
					t.Errorf("%s: %v", program, again)
				}
			}
		}
		if outcomes[0].code != compared.code || outcomes[0].code != outcomes[1].code || outcomes[0].out != outcomes[1].out {
			t.Errorf("%s\n--- Fabric's\n%v\n--- ours\n%v", compared.name, outcomes[0], outcomes[1])
		}
		if names := slices.Sorted(maps.Keys(results[0])); !slices.Equal(names, slices.Sorted(maps.Keys(results[1]))) {
			t.Errorf("%s: Fabric's makes %q", compared.name, names)
		}
		for name, theirs := range results[0] {
			if differ := difference(theirs, results[1][name]); differ != "" {
				t.Errorf("%s, %s\n%s", compared.name, name, differ)
			}
		}
	}
}

func TestCommandLinesOfLedgerutilEndAsFabrics(t *testing.T) {
	both := programs(t)
	folder := t.TempDir()
	write(t, filepath.Join(folder, "empty.json"), `{"ledgerid":"health","diffRecords":[]}`)
	write(t, filepath.Join(folder, "half.json"), `{"ledgerid":"health","diffRecords":[{"namespace":"kv"}]}`)
	for line, ownWords := range map[string]string{
		"nonsense": "", "compare": "", "compare a": "", "compare a b c": "", "identifytxs": "", "compare --nonsense a b": "",
		"identifytxs absent.json": "", "identifytxs empty.json": "", "identifytxs half.json -o half": "", "verify --outputDir": "",
	} {
		both.both(t, t.TempDir(), "ledgerutil", ownWords, strings.Fields(strings.ReplaceAll(line, "empty.json", filepath.Join(folder, "empty.json")))...)
	}
	for _, program := range []string{both.theirs, both.ours} {
		for _, command := range []string{"verify", "identifytxs " + write(t, filepath.Join(folder, "one.json"), `{"ledgerid":"health","diffRecords":[{"namespace":"kv","key":"a"}]}`)} {
			refused := run(t, t.TempDir(), filepath.Join(program, "ledgerutil"), nil, append(strings.Fields(command), t.TempDir())...)
			if refused.code != 1 || !strings.Contains(refused.out, "Error:") {
				t.Errorf("%s %s: %v", program, command, refused)
			}
		}
	}
}
