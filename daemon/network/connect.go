package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
)

// connect connects a sandbox to a target if the rules allow that. What becomes of it is noted.
func (n *Server) connect(ctx context.Context, b *sandbox, t target) (*upstream, *refusal) {
	up, err := n.tryConnect(ctx, b, t)
	if err != nil {
		r := refusalOf(ctx, t, err)
		n.refuse(b, t, 0, r)
		return nil, r
	}
	return up, nil
}

func (n *Server) tryConnect(ctx context.Context, b *sandbox, t target) (*upstream, error) {
	rules := b.rules.Load()
	var v egress.Verdict
	if t.name != "" {
		v = t.verdict(rules)
	} else {
		v = n.address(rules, t, netip.AddrPortFrom(t.addr, uint16(t.port))) //nolint:gosec // targetOf looked at it
	}
	if !v.Allowed {
		return nil, denied(v)
	}
	leave, err := n.enter(b, rules)
	if err != nil {
		return nil, err
	}
	conn, err := n.dialInTurn(ctx, b, rules, t)
	if err != nil {
		leave()
		return nil, err
	}
	return n.opened(sessionOf(ctx), b, t, v, conn, leave), nil
}

// enter counts one more connection, until leave is called.
func (n *Server) enter(b *sandbox, rules *egress.Rules) (leave func(), err error) {
	if spent := b.meter.spent(); spent != nil {
		return nil, spent
	}
	most := n.o.SandboxConnections
	if own := rules.Limits().Connections; own > 0 {
		most = min(own, most)
	}
	if b.open.Add(1) > int64(most) {
		b.open.Add(-1)
		return nil, busy(fmt.Sprintf("The sandbox has %d connections, as many as it may.", most))
	}
	select {
	case n.open <- struct{}{}:
	default:
		b.open.Add(-1)
		return nil, busy("All sandboxes together have as many connections as they may.")
	}
	n.o.Metrics.NetworkOpen(1)
	return func() {
		n.o.Metrics.NetworkOpen(-1)
		<-n.open
		b.open.Add(-1)
	}, nil
}

// inTurn does something that asks the outside, once the sandbox has its turn. The error is that of a time that is over.
func (n *Server) inTurn(ctx context.Context, b *sandbox, do func()) error {
	select {
	case b.dials <- struct{}{}:
	case <-ctx.Done():
		return busy(fmt.Sprintf("The sandbox has %d connections and lookups under way, as many as it may.", cap(b.dials)))
	}
	defer func() { <-b.dials }()
	done := false
	n.dials.Pass(ctx, b.id, func() {
		done = true
		do()
	})
	if !done {
		return busy("All sandboxes together have as many connections and lookups under way as they may.")
	}
	return nil
}

// dialInTurn resolves and dials, within the time that there is for both.
func (n *Server) dialInTurn(ctx context.Context, b *sandbox, rules *egress.Rules, t target) (conn *net.TCPConn, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, n.o.ConnectTimeout, errConnectSlow)
	defer cancel()
	waited := n.inTurn(ctx, b, func() {
		begun := time.Now()
		conn, err = n.dial(ctx, rules, t)
		n.o.Metrics.NetworkDialed(time.Since(begun), err)
	})
	if waited != nil {
		return nil, waited
	}
	if err != nil {
		return nil, refusalOf(ctx, t, err)
	}
	return conn, nil
}

// dial resolves and dials. Every address is looked at just before it is connected to, so it makes no difference what a resolver said before.
func (n *Server) dial(ctx context.Context, rules *egress.Rules, t target) (*net.TCPConn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(n.o.LookupTimeout, func() { cancel(errLookupSlow) })
	defer slow.Stop()
	var mu sync.Mutex // happy eyeballs dial two addresses at once
	var refused *refusal
	dialer := net.Dialer{Resolver: n.resolver, Control: func(_, address string, _ syscall.RawConn) error {
		slow.Stop()
		r := n.checkAddress(rules, t, address)
		if r == nil {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		refused = r
		return r
	}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(t.dialed(), strconv.Itoa(t.outside())))
	if err == nil {
		return conn.(*net.TCPConn), nil
	}
	mu.Lock()
	defer mu.Unlock()
	if refused != nil {
		return nil, refused // which says more than why another address did not answer
	}
	return nil, refusalOf(ctx, t, err)
}

// checkAddress says why an address may not be connected to; nil if it may.
func (n *Server) checkAddress(rules *egress.Rules, t target, address string) *refusal {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return notAName(fmt.Errorf("%q is no address", address))
	}
	if v := n.address(rules, t, to); !v.Allowed {
		r := denied(v)
		r.address = to
		return r
	}
	return nil
}

// address says what the rules make of an address, and of one of this host's own.
func (n *Server) address(rules *egress.Rules, t target, to netip.AddrPort) egress.Verdict {
	if n.hosts.has(to.Addr()) {
		return rules.HostAddress(t.name, to)
	}
	return rules.Address(t.name, to)
}

// upstream is a sandbox's connection to the outside.
type upstream struct {
	net.Conn // tcp, without its methods that would pass count by

	tcp    *net.TCPConn
	n      *Server
	b      *sandbox
	to     target
	life   context.Context //nolint:containedctx // until it is closed, or the sandbox's session has ended
	opened wire.NetworkEntry
	begun  time.Time
	sent   atomic.Int64
	got    atomic.Int64
	closed func() error
}

// sessionOf is the context of the sandbox's session that something is asked for in. A request's own may end before its connection.
func sessionOf(ctx context.Context) context.Context {
	if p := clientOf(ctx); p != nil {
		return p.ctx
	}
	return ctx
}

func (n *Server) opened(session context.Context, b *sandbox, t target, v egress.Verdict, conn *net.TCPConn, leave func()) *upstream {
	life, end := context.WithCancel(session)
	up := &upstream{Conn: conn, tcp: conn, n: n, b: b, to: t, life: life, begun: time.Now(), opened: t.entry(wire.NetworkOpened)}
	up.opened.Connection, up.opened.Address = n.connections.Add(1), conn.RemoteAddr().String()
	up.opened.Rule, up.opened.Kind, up.opened.Message = v.Rule, v.Kind, v.Text
	up.closed = sync.OnceValue(func() error {
		err := conn.Close()
		end()
		b.meter.leave(up)
		leave()
		up.note()
		return err
	})
	b.add(up.opened)
	b.meter.enter(up)
	n.o.Metrics.NetworkAsked(string(wire.NetworkOpened), v.Kind)
	return up
}

// note keeps the end of the connection.
func (u *upstream) note() {
	e := u.opened
	e.Result, e.SentBytes, e.GotBytes = wire.NetworkClosed, u.sent.Load(), u.got.Load()
	e.DurationMS = float64(time.Since(u.begun).Microseconds()) / 1000
	u.b.add(e)
}

// Read reads what the outside sends.
func (u *upstream) Read(p []byte) (int, error) {
	count, err := u.Conn.Read(p)
	if wrong := u.pass(0, count); wrong != nil {
		return 0, wrong
	}
	return count, err
}

// SyscallConn lets others wait for what the outside sends. Who reads by it tells Took.
func (u *upstream) SyscallConn() (syscall.RawConn, error) { return u.tcp.SyscallConn() }

// Write sends to the outside.
func (u *upstream) Write(p []byte) (int, error) {
	if wrong := u.pass(len(p), 0); wrong != nil {
		return 0, wrong
	}
	return u.Conn.Write(p)
}

// Close closes the connection, and notes its end.
func (u *upstream) Close() error { return u.closed() }

// CloseWrite tells the outside that nothing more is sent.
func (u *upstream) CloseWrite() error { return u.tcp.CloseWrite() }

// reset closes the connection such that the outside sees it broken.
func (u *upstream) reset() {
	_ = u.tcp.SetLinger(0)
	_ = u.Close()
}
