package tools_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"consilium/tests/go/network"
)

func TestOsnadminAsksAndAnswersAsFabrics(t *testing.T) {
	both := programs(t)
	net := network.Load(t)
	org := net.Organization(t, "hospital")
	tls := filepath.Join(net.User(org, "Admin"), "tls")
	address := fmt.Sprintf("localhost:%d", org.Ports.OrdererAdmin)
	flags := []string{
		"-o", address, "--ca-file", filepath.Join(tls, "ca.crt"),
		"--client-cert", filepath.Join(tls, "client.crt"), "--client-key", filepath.Join(tls, "client.key"),
	}
	_, folder := configurations(t, both)
	block := filepath.Join(folder, "fresh.block")
	// As it stands there, no orderer takes it: blocks may not be preferred larger than they may be.
	room := []string{"CONFIGTX_PROFILES_TWO_ORDERER_BATCHSIZE_ABSOLUTEMAXBYTES=10 MB"}
	made := run(t, folder, filepath.Join(both.ours, "configtxgen"), room, "-profile", "Two", "-channelID", "fresh", "-outputBlock", block, "-configPath", folder)
	if made.code != 0 {
		t.Fatal(made)
	}
	for line, shows := range map[string]string{
		"channel list":                                             "Status: 200\n{\n\t\"systemChannel\": null,\n\t\"channels\": [\n",
		"channel list --no-status":                                 "{\n\t\"systemChannel\": null",
		"channel list -c " + net.Channel:                           "\"consensusRelation\": \"consenter\"",
		"channel list --channelID=absent":                          "Status: 404\n{\n\t\"error\": \"channel does not exist\"\n}",
		"channel remove -c absent":                                 "Status: 404",
		"channel join -c other -b " + block:                        "",
		"channel join -c other -b absent":                          "",
		"channel join -c other -b " + filepath.Join(tls, "ca.crt"): "",
	} {
		ownWords := ""
		if strings.HasSuffix(line, "ca.crt") {
			ownWords = "unmarshalling block"
		}
		outcome := both.both(t, folder, "osnadmin", ownWords, append(strings.Fields(line), flags...)...)
		if !strings.Contains(outcome.out, shows) {
			t.Errorf("%s: %v", line, outcome)
		}
	}
	var joined [2]outcome
	for i, program := range []string{both.theirs, both.ours} {
		osnadmin := func(line string) outcome {
			return run(t, folder, filepath.Join(program, "osnadmin"), nil, append(strings.Fields(line), flags...)...)
		}
		joined[i] = osnadmin("channel join -c fresh -b fresh.block")
		if again := osnadmin("channel join -c fresh -b fresh.block"); again.code != 0 || !strings.HasPrefix(again.out, "Status: 405\n") {
			t.Errorf("%s: %v", program, again)
		}
		if removed := osnadmin("channel remove -c fresh"); removed.code != 0 || removed.out != "Status: 204\n\n" {
			t.Errorf("%s: %v", program, removed)
		}
	}
	if joined[0] != joined[1] || !strings.HasPrefix(joined[1].out, "Status: 201\n{\n\t\"name\": \"fresh\",\n") {
		t.Errorf("--- Fabric's\n%v\n--- ours\n%v", joined[0], joined[1])
	}
	for _, line := range []string{
		"", "channel", "channel x -o a", "channel list", "channel join -c x -o h:1", "channel remove -o h:1",
		"channel list --nonsense -o h:1", "channel list -o h:1 --ca-file absent",
		"channel list -o h:1 --ca-file " + filepath.Join(tls, "ca.crt"),
		"channel list -o h:1 --ca-file " + filepath.Join(tls, "client.key"),
	} {
		ownWords := ""
		if strings.Contains(line, "--ca-file /") {
			ownWords = "arguments: "
		}
		both.both(t, folder, "osnadmin", ownWords, strings.Fields(line)...)
	}
	// Why nobody answers is said in other words.
	for _, program := range []string{both.theirs, both.ours} {
		for _, at := range []string{fmt.Sprintf("localhost:%d", network.FreePort(t)), address} {
			alone := run(t, "", filepath.Join(program, "osnadmin"), os.Environ(), "channel", "list", "-o", at)
			if strings.HasPrefix(alone.out, "Status: 400") {
				continue
			}
			if alone.code != 1 || !strings.HasPrefix(alone.out, "Error: Get \"http://"+at+"/participation/v1/channels\": ") || !strings.HasSuffix(alone.out, "\n\n") {
				t.Errorf("%s: %v", program, alone)
			}
		}
	}
}
