package network

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"consilium/tests/ordering/pki"
)

// Channels is the path of the channel participation API.
const Channels = "/participation/v1/channels"

// ChannelInfo is what the API says about a channel.
type ChannelInfo struct {
	Name              string `json:"name"`
	URL               string `json:"url"`
	ConsensusRelation string `json:"consensusRelation"`
	Status            string `json:"status"`
	Height            uint64 `json:"height"`
}

// Reply is an answer of the API.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// Error is the text of an answer that is an error.
func (r Reply) Error() string {
	var body struct{ Error string }
	// Fabric answers some requests with the same error twice; the first counts.
	if err := json.NewDecoder(strings.NewReader(r.Body)).Decode(&body); err != nil {
		return fmt.Sprintf("not JSON: %.80q", r.Body)
	}
	return body.Error
}

// Request calls the API as an administrator of the node's organization.
func (n *Node) Request(method, path, contentType string, body []byte) (Reply, error) {
	return n.RequestAs(n.Organization.ClientTLS, method, path, http.Header{"Content-Type": {contentType}}, body)
}

// RequestAs calls the API with a certificate of the caller's choice, or without one.
func (n *Node) RequestAs(certificate *pki.Credential, method, path string, header http.Header, body []byte) (Reply, error) {
	address := net.JoinHostPort(n.Host, strconv.Itoa(n.AdminPort))
	request, err := http.NewRequest(method, "https://"+address+path, bytes.NewReader(body))
	if err != nil {
		return Reply{}, err
	}
	for key, values := range header {
		if len(values) > 0 && values[0] != "" {
			request.Header[key] = values
		}
	}
	response, err := n.adminClient(certificate).Do(request)
	if err != nil {
		return Reply{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return Reply{}, err
	}
	return Reply{response.StatusCode, response.Header, string(text)}, nil
}

// Part is a part of a form: a file, or a plain value where FileName is empty.
type Part struct {
	Name     string
	FileName string
	Content  []byte
}

// Form encodes a multipart form, and says its content type.
func Form(parts ...Part) (string, []byte, error) {
	buffer := &bytes.Buffer{}
	writer := multipart.NewWriter(buffer)
	for _, part := range parts {
		var into io.Writer
		var err error
		if part.FileName == "" {
			into, err = writer.CreateFormField(part.Name)
		} else {
			into, err = writer.CreateFormFile(part.Name, part.FileName)
		}
		if err != nil {
			return "", nil, err
		}
		if _, err := into.Write(part.Content); err != nil {
			return "", nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return "", nil, err
	}
	return writer.FormDataContentType(), buffer.Bytes(), nil
}

// TryJoin posts a config block, as osnadmin does.
func (n *Node) TryJoin(block *common.Block) (Reply, error) {
	content, err := proto.Marshal(block)
	if err != nil {
		return Reply{}, err
	}
	contentType, body, err := Form(Part{"config-block", "config.block", content})
	if err != nil {
		return Reply{}, err
	}
	return n.Request(http.MethodPost, Channels, contentType, body)
}

// Join joins the channel of a config block.
func (n *Node) Join(t testing.TB, block *common.Block) ChannelInfo {
	t.Helper()
	reply, err := n.TryJoin(block)
	must(t, err)
	if reply.Status != http.StatusCreated {
		t.Fatalf("%s cannot join: %d %s", n.Name, reply.Status, reply.Body)
	}
	info := ChannelInfo{}
	must(t, json.Unmarshal([]byte(reply.Body), &info))
	return info
}

// Info asks about a channel.
func (n *Node) Info(channel string) (ChannelInfo, error) {
	reply, err := n.Request(http.MethodGet, Channels+"/"+channel, "", nil)
	if err != nil {
		return ChannelInfo{}, err
	}
	if reply.Status != http.StatusOK {
		return ChannelInfo{}, fmt.Errorf("%s: %d %s", n.Name, reply.Status, reply.Body)
	}
	info := ChannelInfo{}
	return info, json.Unmarshal([]byte(reply.Body), &info)
}

// Leave removes a channel from the node.
func (n *Node) Leave(t testing.TB, channel string) {
	t.Helper()
	reply, err := n.Request(http.MethodDelete, Channels+"/"+channel, "", nil)
	must(t, err)
	if reply.Status != http.StatusNoContent {
		t.Fatalf("%s cannot leave %s: %d %s", n.Name, channel, reply.Status, reply.Body)
	}
}

// Await waits until the node's view of a channel is as wanted.
func (n *Node) Await(t testing.TB, channel, what string, wanted func(ChannelInfo) bool) ChannelInfo {
	t.Helper()
	var info ChannelInfo
	var err error
	Within(t, 30*time.Second, fmt.Sprintf("%s: %s", n.Name, what), func() bool {
		info, err = n.Info(channel)
		return err == nil && wanted(info)
	}, func() string { return fmt.Sprintf("last seen: %+v, %v", info, err) })
	return info
}

// AwaitHeight waits until the node has that many blocks.
func (n *Node) AwaitHeight(t testing.TB, channel string, height uint64) {
	t.Helper()
	n.Await(t, channel, fmt.Sprintf("height %d", height), func(info ChannelInfo) bool {
		return info.Height >= height
	})
}

// AwaitRelation waits until the node is, for example, an active consenter.
func (n *Node) AwaitRelation(t testing.TB, channel, relation, status string) ChannelInfo {
	t.Helper()
	return n.Await(t, channel, relation+", "+status, func(info ChannelInfo) bool {
		return info.ConsensusRelation == relation && info.Status == status
	})
}

// Within polls until a condition holds, and fails the test when it never does.
func Within(t testing.TB, limit time.Duration, what string, holds func() bool, details ...func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !holds() {
		if time.Now().After(deadline) {
			text := ""
			for _, detail := range details {
				text += " (" + detail() + ")"
			}
			t.Fatalf("not within %s: %s%s", limit, what, text)
		}
		time.Sleep(25 * time.Millisecond)
	}
}
