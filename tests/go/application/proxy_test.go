package application_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"consilium/tests/go/network"
)

// Passes connections on to an address, and cuts them when told to.
type proxy struct {
	listener net.Listener
	target   string
	lock     sync.Mutex
	open     []net.Conn
	count    int
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	network.Must(t, err)
	made := &proxy{listener: listener, target: target}
	t.Cleanup(func() { made.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", target)
			if err != nil {
				from.Close()
				continue
			}
			made.lock.Lock()
			made.open = append(made.open, from, to)
			made.lock.Unlock()
			for _, ends := range [][2]net.Conn{{from, to}, {to, from}} {
				go func() {
					_, _ = io.Copy(ends[0], ends[1])
					ends[0].Close()
				}()
			}
		}
	}()
	return made
}

func (p *proxy) address() string {
	return fmt.Sprintf("localhost:%d", p.listener.Addr().(*net.TCPAddr).Port)
}

// Cuts all connections that there are now.
func (p *proxy) cut() {
	p.lock.Lock()
	defer p.lock.Unlock()
	for _, end := range p.open {
		end.Close()
	}
	p.open, p.count = nil, p.count+1
}

// Close ends it.
func (p *proxy) Close() error {
	p.cut()
	return p.listener.Close()
}
