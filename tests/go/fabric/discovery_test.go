package fabric_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"consilium/tests/go/network"
)

// A peer as `discover` prints it.
type discovered struct {
	MSPID, Endpoint, Identity string
	Chaincodes                []string
}

// Fabric's `discover` gets the same answers from peers of both kinds. Heights are left out: they grow
// while one asks.
func (w *consortium) discovery(t *testing.T) {
	channel := []string{"--channel", w.net.Channel}
	endorsers := func(of ...string) []string {
		return append(append([]string{"endorsers"}, channel...), of...)
	}
	for _, question := range []struct {
		args   []string
		read   func(*testing.T, string) any
		within string
	}{
		{append([]string{"config"}, channel...), configuration, w.maker.Org.MSPID},
		{append([]string{"peers"}, channel...), peers, w.fabric.Address},
		{[]string{"peers"}, peers, w.fabric.Address},
		{endorsers("--chaincode", w.name), layouts, w.fabric.Address},
		{endorsers("--chaincode", "kv"), layouts, w.maker.Address},
		{endorsers("--chaincode", w.name, "--chaincode", "kv"), layouts, w.regulator.Address},
		{endorsers("--chaincode", "_lifecycle"), layouts, w.fabric.Address},
		{endorsers("--chaincode", w.name, "--collection", w.name+":either"), layouts, w.fabric.Address},
		{endorsers("--chaincode", w.name, "--collection", w.name+":either,kept"), layouts, w.fabric.Address},
		{endorsers("--chaincode", w.name, "--collection", w.name+":kept", "--noPrivateReads", w.name), layouts, w.fabric.Address},
		{endorsers("--chaincode", "kv", "--collection", "kv:_implicit_org_MakerMSP"), layouts, w.maker.Address},
		{endorsers("--chaincode", w.name, "--collection", w.name+":nowhere"), layouts, "failed constructing descriptor for chaincodes:"},
		{endorsers("--chaincode", "nowhere"), layouts, `failed constructing descriptor for chaincodes:{name:"nowhere"}`},
		{endorsers("--chaincode", "qscc"), layouts, "failed constructing descriptor"},
		{[]string{"peers", "--channel", "nowhere"}, peers, "access denied"},
		{[]string{"config", "--channel", "nowhere"}, configuration, "access denied"},
	} {
		network.Eventually(t, fmt.Sprint(question.args), func() error {
			theirs := answer(t, w.fabric.Terminal, question.read, question.args)
			for _, asked := range []*network.Terminal{w.hospital, w.regulator} {
				ours := answer(t, asked, question.read, question.args)
				if !reflect.DeepEqual(ours, theirs) {
					return fmt.Errorf("%s answers\n%v\nand Fabric's peer\n%v", asked.Address, ours, theirs)
				}
			}
			if shown := fmt.Sprint(theirs); !strings.Contains(shown, question.within) {
				return fmt.Errorf("%q is not in %s", question.within, shown)
			}
			return nil
		})
	}
}

// What a peer answers, or why it does not.
func answer(t *testing.T, asked *network.Terminal, read func(*testing.T, string) any, args []string) any {
	t.Helper()
	out, said := asked.Discover(t, args...)
	if out == "" {
		// Go's texts of messages have one blank or two, by chance of the build.
		said = strings.ReplaceAll(said, asked.Address, "PEER")
		return strings.Join(strings.Fields(said), " ")
	}
	return read(t, out)
}

func configuration(t *testing.T, out string) any {
	t.Helper()
	var read any
	network.Must(t, json.Unmarshal([]byte(out), &read))
	return read
}

func peers(t *testing.T, out string) any {
	t.Helper()
	var read []discovered
	network.Must(t, json.Unmarshal([]byte(out), &read))
	return sorted(read)
}

func sorted(peers []discovered) []string {
	var shown []string
	for _, peer := range peers {
		slices.Sort(peer.Chaincodes)
		shown = append(shown, fmt.Sprint(peer))
	}
	slices.Sort(shown)
	return shown
}

// Groups have names by chance: layouts are compared by who is in them.
func layouts(t *testing.T, out string) any {
	t.Helper()
	var read []struct {
		EndorsersByGroups map[string][]discovered
		Layouts           []struct {
			QuantitiesByGroup map[string]int `json:"quantities_by_group"`
		}
	}
	network.Must(t, json.Unmarshal([]byte(out), &read))
	var found []string
	for _, descriptor := range read {
		for _, layout := range descriptor.Layouts {
			var groups []string
			for group, count := range layout.QuantitiesByGroup {
				groups = append(groups, fmt.Sprint(count, " of ", sorted(descriptor.EndorsersByGroups[group])))
			}
			slices.Sort(groups)
			found = append(found, strings.Join(groups, " and "))
		}
	}
	slices.Sort(found)
	return found
}
