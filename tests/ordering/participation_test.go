package ordering

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"consilium/tests/ordering/network"
)

func TestTheChannelParticipationAPIAnswersAsFabricsDoes(t *testing.T) {
	net := network.New(t, network.Options{Consenters: 1})
	net.StartAll(t)
	node := net.Nodes[0]

	request := func(t *testing.T, method, path, contentType string, body []byte) network.Reply {
		t.Helper()
		reply, err := node.Request(method, path, contentType, body)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	expect := func(t *testing.T, reply network.Reply, status int, text string) {
		t.Helper()
		if reply.Status != status || !matches(reply.Error(), text) {
			t.Errorf("answer %d %q, not %d %q", reply.Status, reply.Error(), status, text)
		}
		if kind := reply.Header.Get("Content-Type"); kind != "application/json" {
			t.Errorf("content type %q", kind)
		}
		if !strings.HasSuffix(reply.Body, "}\n") {
			t.Errorf("body %.80q does not end as Go's encoder ends it", reply.Body)
		}
	}
	const one = network.Channels + "/records"

	t.Run("a node without channels lists null", func(t *testing.T) {
		reply := request(t, http.MethodGet, network.Channels, "", nil)
		if want := `{"systemChannel":null,"channels":null}` + "\n"; reply.Body != want {
			t.Errorf("body %q, not %q", reply.Body, want)
		}
		if control := reply.Header.Get("Cache-Control"); control != "no-store" {
			t.Errorf("Cache-Control %q", control)
		}
	})
	t.Run("a channel that is not there is 404", func(t *testing.T) {
		expect(t, request(t, http.MethodGet, one, "", nil), 404, "channel does not exist")
		expect(t, request(t, http.MethodDelete, one, "", nil), 404, "cannot remove: channel does not exist")
		expect(t, request(t, http.MethodGet, network.Channels+"/No_Such", "", nil), 400,
			"invalid channel ID: 'No_Such' contains illegal characters")
	})
	t.Run("a join that is not what it should be is refused", func(t *testing.T) {
		genesis, err := proto.Marshal(net.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		file := network.Part{Name: "config-block", FileName: "config.block", Content: genesis}
		altered := func(change func(*common.Block)) network.Part {
			block := proto.Clone(net.Genesis).(*common.Block)
			change(block)
			content, err := proto.Marshal(block)
			if err != nil {
				t.Fatal(err)
			}
			return network.Part{Name: "config-block", FileName: "config.block", Content: content}
		}
		cases := []struct {
			name  string
			parts []network.Part
			info  string
		}{
			{"no part", nil, "form does not contains part key: config-block"},
			{"a part of another name", []network.Part{{Name: "block", FileName: "config.block", Content: genesis}},
				"form does not contains part key: config-block"},
			{"a part that is no file", []network.Part{{Name: "config-block", Content: []byte("text")}},
				"form does not contains part key: config-block"},
			{"two files", []network.Part{file, {Name: "another", FileName: "x", Content: []byte("x")}}, "form contains too many parts"},
			{"a file and a value", []network.Part{file, {Name: "another", Content: []byte("x")}}, "form contains too many parts"},
			{"a file that is garbage", []network.Part{{Name: "config-block", FileName: "x", Content: []byte("garbage")}},
				"cannot unmarshal file part config-block into a block: …"},
			{"an empty file", []network.Part{{Name: "config-block", FileName: "x"}}, "invalid join block: block is not a config block"},
			{"no metadata", []network.Part{altered(func(block *common.Block) { block.Metadata = nil })},
				"invalid join block: invalid block: does not have metadata"},
			{"another data hash", []network.Part{altered(func(block *common.Block) { block.Header.DataHash = []byte("x") })},
				"invalid join block: invalid block: Header.DataHash is different from Hash(block.Data)"},
		}
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				contentType, body, err := network.Form(c.parts...)
				if err != nil {
					t.Fatal(err)
				}
				reply := request(t, http.MethodPost, network.Channels, contentType, body)
				expect(t, reply, 400, c.info)
				if reply.Status == 201 {
					node.Leave(t, "records")
				}
			})
		}
		t.Run("JSON", func(t *testing.T) {
			expect(t, request(t, http.MethodPost, network.Channels, "application/json", []byte("{}")), 400,
				"unsupported Content-Type: [application/json]")
		})
		t.Run("a form without a boundary", func(t *testing.T) {
			expect(t, request(t, http.MethodPost, network.Channels, "multipart/form-data", []byte("x")), 400,
				"cannot read form from request body: …")
		})
		t.Run("a form that breaks off", func(t *testing.T) {
			contentType, body, err := network.Form(file)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, request(t, http.MethodPost, network.Channels, contentType, body[:len(body)/2]), 400,
				"cannot read form from request body: …")
		})
	})
	t.Run("a join is 201 with the channel and its place", func(t *testing.T) {
		reply, err := node.TryJoin(net.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"name":"records","url":"/participation/v1/channels/records","consensusRelation":"consenter","status":"active","height":1}` + "\n"
		if reply.Status != 201 || reply.Body != want {
			t.Errorf("answer %d %q, not 201 %q", reply.Status, reply.Body, want)
		}
		if place := reply.Header.Get("Location"); place != one {
			t.Errorf("Location %q", place)
		}
	})
	t.Run("a second join is 405", func(t *testing.T) {
		reply, err := node.TryJoin(net.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, reply, 405, "cannot join: channel already exists")
		if allow := reply.Header.Get("Allow"); allow != "GET, DELETE" {
			t.Errorf("Allow %q", allow)
		}
	})
	t.Run("list and info have Fabric's shape", func(t *testing.T) {
		list := request(t, http.MethodGet, network.Channels, "", nil)
		want := `{"systemChannel":null,"channels":[{"name":"records","url":"/participation/v1/channels/records"}]}` + "\n"
		if list.Status != 200 || list.Body != want {
			t.Errorf("answer %d %q, not 200 %q", list.Status, list.Body, want)
		}
		info := request(t, http.MethodGet, one, "", nil)
		var fields map[string]any
		if err := json.Unmarshal([]byte(info.Body), &fields); err != nil {
			t.Fatal(err)
		}
		if want := map[string]any{
			"name": "records", "url": one, "consensusRelation": "consenter", "status": "active", "height": 1.0,
		}; !reflect.DeepEqual(fields, want) {
			t.Errorf("info %v, not %v", fields, want)
		}
		if control := info.Header.Get("Cache-Control"); control != "no-store" {
			t.Errorf("Cache-Control %q", control)
		}
	})
	t.Run("other methods, types and paths are refused", func(t *testing.T) {
		for path, allowed := range map[string]string{
			network.Channels:       "GET, POST, PUT",
			one:                    "GET, DELETE",
			one + "/blocks/newest": "GET",
		} {
			reply := request(t, http.MethodPatch, path, "", nil)
			expect(t, reply, 405, "invalid request method: PATCH")
			if allow := reply.Header.Get("Allow"); allow != allowed {
				t.Errorf("%s: Allow %q, not %q", path, allow, allowed)
			}
		}
		for _, path := range []string{network.Channels, one, one + "/blocks/newest"} {
			reply, err := node.RequestAs(node.Organization.ClientTLS, http.MethodGet, path,
				http.Header{"Accept": {"text/html"}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, reply, 406, "response Content-Type is application/json only")
		}
		reply := request(t, http.MethodGet, "/participation/v1/", "", nil)
		if place := reply.Header.Get("Location"); reply.Status != 302 || place != network.Channels {
			t.Errorf("answer %d, Location %q", reply.Status, place)
		}
	})
	t.Run("blocks can be fetched by number and by name", func(t *testing.T) {
		net.Leader(t)
		for number := range uint64(3) {
			net.Send(t, node, fmt.Sprint(number))
			node.AwaitHeight(t, "records", number+2)
		}
		for id, number := range map[string]uint64{"oldest": 0, "newest": 3, "config": 0, "2": 2} {
			reply := request(t, http.MethodGet, one+"/blocks/"+id, "", nil)
			block := &common.Block{}
			if err := proto.Unmarshal([]byte(reply.Body), block); reply.Status != 200 || err != nil {
				t.Fatalf("block %s: %d, %v", id, reply.Status, err)
			}
			if block.GetHeader().GetNumber() != number {
				t.Errorf("block %s has number %d", id, block.GetHeader().GetNumber())
			}
			if kind := reply.Header.Get("Content-Type"); kind != "application/octet-stream" {
				t.Errorf("content type %q", kind)
			}
		}
		expect(t, request(t, http.MethodGet, one+"/blocks/first", "", nil), 400,
			"invalid block ID: 'first' not equal <newest|oldest|config|(number)>")
		if reply := request(t, http.MethodGet, one+"/blocks/99", "", nil); reply.Status != 404 {
			t.Errorf("a block that is not there: %d %s", reply.Status, reply.Body)
		}
	})
	t.Run("without a client certificate, or with one of another authority, nothing is answered", func(t *testing.T) {
		if reply, err := node.RequestAs(nil, http.MethodGet, network.Channels, nil, nil); err == nil {
			t.Errorf("without: %d %s", reply.Status, reply.Body)
		}
		other := net.Application.ClientTLS
		if reply, err := node.RequestAs(other, http.MethodGet, network.Channels, nil, nil); err == nil {
			t.Errorf("another's: %d %s", reply.Status, reply.Body)
		}
	})
	t.Run("a node can be in many channels", func(t *testing.T) {
		for _, name := range []string{"alpha", "zeta", "middle-1.x"} {
			node.Join(t, net.NewGenesis(t, name))
		}
		reply := request(t, http.MethodGet, network.Channels, "", nil)
		var list struct{ Channels []struct{ Name string } }
		if err := json.Unmarshal([]byte(reply.Body), &list); err != nil || len(list.Channels) != 4 {
			t.Errorf("list %s", reply.Body)
		}
	})
	t.Run("a removed channel is gone, also after a restart, and can be joined anew", func(t *testing.T) {
		node.Leave(t, "records")
		network.Within(t, 10*time.Second, "the channel is gone", func() bool {
			return request(t, http.MethodGet, one, "", nil).Status == 404
		})
		expect(t, request(t, http.MethodGet, one, "", nil), 404, "channel does not exist")
		expect(t, request(t, http.MethodDelete, one, "", nil), 404, "cannot remove: channel does not exist")
		node.Kill()
		node.Start(t)
		expect(t, request(t, http.MethodGet, one, "", nil), 404, "channel does not exist")
		if info := node.Join(t, net.Genesis); info.Height != 1 {
			t.Errorf("joined anew with %+v", info)
		}
		net.Leader(t)
		net.Send(t, node, "anew")
		net.EqualChains(t, node)
	})
}
