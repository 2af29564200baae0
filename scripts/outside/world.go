// Package outside is an internet of its own for tests: a network namespace with a DNS server, web servers, and the registries that
// sandboxes install from, under their public names. Nothing of it leaves the machine, and Close leaves nothing behind.
//
// A process is in it when it was started by Do. Tests need not be: they reach daemons by unix sockets, and count by Came who came where.
package outside

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"sandpool/runtime/hostproc"
)

// Resolver is the address of the DNS server.
const Resolver = "203.0.113.53:53"

// World is a network with its servers.
type World struct {
	// Names are what the DNS server knows. It begins with the names of all servers.
	Names *Names
	// CA is the certificate, in PEM, of who signed those of the servers.
	CA []byte

	ns      *os.File
	dir     string   // of git's repository
	lock    *os.File // on that
	secure  *tls.Config
	watch   atomic.Pointer[func(*http.Request)]
	servers sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	closes []func() error
	came   map[netip.AddrPort]int
	conns  map[*knownConn]struct{}
}

// Start makes a network and starts its servers. Only root can.
func Start() (*World, error) {
	ns, err := hostproc.NewNetwork()
	if err != nil {
		return nil, fmt.Errorf("start an outside: %w", err)
	}
	return StartIn(ns)
}

// StartIn is Start in a network that has nothing but a loopback interface. Its addresses stay there; the namespace is the world's from then on.
func StartIn(ns *os.File) (*World, error) {
	w := &World{Names: newNames(), came: map[netip.AddrPort]int{}, conns: map[*knownConn]struct{}{}, ns: ns}
	if err := w.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("start an outside: %w", err), w.Close())
	}
	return w, nil
}

func (w *World) open() (err error) {
	if err := w.Do(raiseLoopback); err != nil {
		return err
	}
	if w.dir, w.lock, err = makeFolder(); err != nil {
		return err
	}
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	w.CA, w.secure = authority.pem, &tls.Config{GetCertificate: authority.certificate, MinVersion: tls.VersionTLS12}
	return w.Do(w.serve)
}

// serve starts all servers, on a thread in the network.
func (w *World) serve() error {
	if err := w.serveNames(); err != nil {
		return err
	}
	if err := w.serveWeb(); err != nil {
		return err
	}
	return w.serveStreams()
}

// Do runs a function on a thread that is in the network, as are the sockets that the function opens itself and the processes that it starts.
func (w *World) Do(do func() error) error {
	return hostproc.InNetwork(w.ns, do)
}

// Came returns how many connections came to a local address of the network, such as 10.20.30.40, by any port.
func (w *World) Came(address string) int {
	want := netip.MustParseAddr(address)
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for to, count := range w.came {
		if to.Addr() == want {
			n += count
		}
	}
	return n
}

// Close ends the servers and removes the network.
func (w *World) Close() error {
	w.mu.Lock()
	w.closed = true
	closes := w.closes
	for conn := range w.conns {
		_ = conn.Conn.Close()
	}
	w.mu.Unlock()
	close(w.Names.end)
	var err error
	for _, end := range closes {
		if endErr := end(); !errors.Is(endErr, net.ErrClosed) { // a server may have closed its listeners
			err = errors.Join(err, endErr)
		}
	}
	w.servers.Wait()
	if w.ns != nil {
		err = errors.Join(err, w.ns.Close())
	}
	if w.dir != "" {
		err = errors.Join(err, os.RemoveAll(w.dir), w.lock.Close())
	}
	return err
}

// owned has the end of the world call a function.
func (w *World) owned(end func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closes = append(w.closes, end)
}

// listen is for a thread in the network. The listener counts who comes, and is closed with the world.
func (w *World) listen(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address) //nolint:noctx // the world ends it
	if err != nil {
		return nil, err
	}
	w.owned(ln.Close)
	return counter{ln, w}, nil
}

// counter is a listener whose connections the world knows.
type counter struct {
	net.Listener
	world *World
}

func (c counter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w := c.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	if to, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		at := to.AddrPort()
		w.came[netip.AddrPortFrom(at.Addr().Unmap(), at.Port())]++
	}
	known := &knownConn{Conn: conn, world: w}
	w.conns[known] = struct{}{}
	return known, nil
}

// knownConn is a connection that the end of the world closes.
type knownConn struct {
	net.Conn
	world *World
}

func (c *knownConn) Close() error {
	c.world.mu.Lock()
	delete(c.world.conns, c)
	c.world.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite passes the end of what is written on.
func (c *knownConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }
