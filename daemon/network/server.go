// Package network is the daemon's end of sandboxes' doors: it decides what they may connect to, resolves, dials, carries the bytes, and
// explains what became of it. It believes nothing of what comes through a door.
package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/lifetime/line"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// Options say how a Server works. What is zero has a default.
type Options struct {
	Log *slog.Logger // nil for none
	// Resolvers are asked for names, in this order; without any those of the host are.
	Resolvers []netip.AddrPort
	// LookupTimeout is how long the resolvers have for a name: 5 s.
	LookupTimeout time.Duration
	// ConnectTimeout is how long a connection may take, its turn and the name's lookup included: 10 s.
	ConnectTimeout time.Duration
	// Dials and Connections bound what all sandboxes together have under way: 128 and 4,096.
	Dials, Connections int
	// SandboxDials and SandboxConnections bound what one sandbox has: 32 and 256.
	SandboxDials, SandboxConnections int
	// Tell is told of what was denied, at most once a minute for each sandbox, name and rule. It must not block.
	Tell func(sandbox string, e wire.NetworkEntry)
	// Metrics is told of all that happens; nil for nobody.
	Metrics Metrics
	// NICs are the interfaces of sandboxes that have one; nil: none has.
	NICs NICs
}

// NICs filters what sandboxes with an interface send. See nic.Host.
type NICs interface {
	Apply(sandbox string, rules *egress.Rules) error
	Allow(sandbox string, to []netip.AddrPort) error
}

// Metrics counts.
type Metrics interface {
	// NetworkAsked counts a connection or lookup: opened, denied or failed, by the kind of rule that decided.
	NetworkAsked(result, kind string)
	// NetworkDialed tells how long it took to be connected, or to fail.
	NetworkDialed(took time.Duration, err error)
	// NetworkOpen counts the connections that are open, up and down.
	NetworkOpen(more int)
	// NetworkCarried counts bytes that sandboxes sent and got.
	NetworkCarried(sent, got int)
}

// Server serves the doors of all sandboxes. Make it with New.
type Server struct {
	o        Options
	resolver *net.Resolver
	hosts    hostAddresses
	dials    *line.Gate
	open     chan struct{} // a slot for each connection
	web      http.Server
	plain    http.Handler // for plain HTTP of the proxy

	connections atomic.Uint64 // numbers them
	secrets     atomic.Pointer[map[string]Secret]
	vault       vault

	mu  sync.Mutex
	all map[string]*sandbox
}

// New makes a Server.
func New(o Options) *Server {
	o = withDefaults(o)
	n := &Server{
		o: o, resolver: resolver(o.Resolvers), dials: line.NewGate(o.Dials), open: make(chan struct{}, o.Connections), all: map[string]*sandbox{},
	}
	n.secrets.Store(&map[string]Secret{})
	n.vault.own = map[string][]Secret{}
	n.serveWeb()
	return n
}

func withDefaults(o Options) Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Tell == nil {
		o.Tell = func(string, wire.NetworkEntry) {}
	}
	if o.Metrics == nil {
		o.Metrics = nobody{}
	}
	for value, otherwise := range map[*int]int{&o.Dials: 128, &o.Connections: 4096, &o.SandboxDials: 32, &o.SandboxConnections: 256} {
		if *value == 0 {
			*value = otherwise
		}
	}
	for value, otherwise := range map[*time.Duration]time.Duration{&o.LookupTimeout: 5 * time.Second, &o.ConnectTimeout: 10 * time.Second} {
		if *value == 0 {
			*value = otherwise
		}
	}
	return o
}

// Set has a sandbox's new connections go by these layers; those that are open go on. Errors are about the layers, and then nothing
// has changed.
func (n *Server) Set(sandbox string, l egress.Layers) error {
	rules, err := egress.Compile(l)
	if err != nil {
		return fmt.Errorf("compile rules of the network: %w", err)
	}
	n.mu.Lock()
	b := n.all[sandbox]
	n.mu.Unlock()
	fresh := b == nil
	if fresh {
		b = n.newSandbox(sandbox)
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	nic, err := n.filter(sandbox, rules)
	if err != nil {
		return err
	}
	b.rules.Store(rules)
	b.nic.Store(nic)
	b.meter.bound(rules.Limits())
	b.tableChanged()
	if fresh {
		n.mu.Lock()
		n.all[sandbox] = b
		n.mu.Unlock()
	}
	return nil
}

// Serve answers what a sandbox asks for over a session until that ends, or ctx does. A session that was served before is closed. The
// sandbox is one that was Set.
func (n *Server) Serve(ctx context.Context, sandbox string, s *door.Session) error {
	b, err := n.find(sandbox)
	if err != nil {
		s.Close()
		return err
	}
	if !b.begin(s) {
		s.Close()
		return errUnknown(sandbox)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, s.Close)()
	var beside sync.WaitGroup
	defer beside.Wait()
	defer b.end(s)
	beside.Go(func() {
		n.sendTables(ctx, b, s)
		cancel() // the session has ended, and with it dials for it
	})
	return s.Serve(func(st *door.Stream) { n.answer(ctx, b, st) })
}

// Recount has the bytes of a sandbox count from now on: it has been handed out.
func (n *Server) Recount(sandbox string) {
	if b, err := n.find(sandbox); err == nil {
		b.meter.recount()
	}
}

// Forget ends a sandbox's session and forgets all of it.
func (n *Server) Forget(sandbox string) {
	n.mu.Lock()
	b := n.all[sandbox]
	delete(n.all, sandbox)
	n.mu.Unlock()
	if b != nil {
		b.forget()
	}
}

// Dial connects to a port of 127.0.0.1 in a sandbox.
func (n *Server) Dial(ctx context.Context, sandbox string, port int) (net.Conn, error) {
	b, err := n.find(sandbox)
	if err != nil {
		return nil, err
	}
	s := b.current()
	if s == nil {
		return nil, errdefs.ErrUnavailable.WithMessage(fmt.Sprintf("the door of sandbox %s is not open", sandbox))
	}
	stream, _, err := s.Open(ctx, door.Ask{Kind: door.Dial, Port: port})
	if refused, ok := errors.AsType[*door.Refusal](err); ok { // in words of the sandbox's
		return nil, errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("port %d of the sandbox: %s", port, shown(refused.Text)))
	}
	if err != nil {
		return nil, fmt.Errorf("dial port %d of sandbox %s: %w", port, sandbox, err)
	}
	return stream, nil
}

func (n *Server) find(sandbox string) (*sandbox, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b := n.all[sandbox]; b != nil {
		return b, nil
	}
	return nil, errUnknown(sandbox)
}

func errUnknown(sandbox string) error {
	return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("sandbox %s has no network", sandbox))
}

// nobody counts nothing.
type nobody struct{}

func (nobody) NetworkAsked(string, string)        {}
func (nobody) NetworkDialed(time.Duration, error) {}
func (nobody) NetworkOpen(int)                    {}
func (nobody) NetworkCarried(int, int)            {}
