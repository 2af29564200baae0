package network

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// resolver asks some resolvers, or those of the host. It is Go's own, which knows of the host its files of hosts and resolvers only.
func resolver(servers []netip.AddrPort) *net.Resolver {
	r := &net.Resolver{PreferGo: true}
	if len(servers) > 0 {
		r.Dial = (&resolvers{list: servers, silent: make([]time.Time, len(servers))}).dial
	}
	return r
}

const (
	// resolverTime is how long a resolver may take before another one is asked.
	resolverTime = 2 * time.Second
	// resolverRest is how long one that did not answer is asked last.
	resolverRest = 30 * time.Second
)

// resolvers are asked in their order, but for those that did not answer a while ago.
type resolvers struct {
	list []netip.AddrPort

	mu     sync.Mutex
	silent []time.Time // until when each is passed over
}

// dial connects to the first one that answers, or else to that which has been silent for the longest.
func (r *resolvers) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	r.mu.Lock()
	which, now := 0, time.Now()
	for i, until := range r.silent {
		if until.Before(now) {
			which = i
			break
		}
		if until.Before(r.silent[which]) {
			which = i
		}
	}
	r.mu.Unlock()
	conn, err := (&net.Dialer{Timeout: resolverTime}).DialContext(ctx, network, r.list[which].String())
	if err != nil {
		if context.Cause(ctx) == nil { // else it is who asked that has gone
			r.note(which)
		}
		return nil, err
	}
	q := &question{Conn: conn, failed: func() { r.note(which) }}
	if udp, ok := conn.(*net.UDPConn); ok {
		return &packetQuestion{question: q, PacketConn: udp}, nil
	}
	return q, nil
}

func (r *resolvers) note(which int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent[which] = time.Now().Add(resolverRest)
}

// question is a connection to a resolver, which has little time.
type question struct {
	net.Conn

	failed func()
}

// SetDeadline sets a time that is not over resolverTime from now.
func (q *question) SetDeadline(t time.Time) error {
	if most := time.Now().Add(resolverTime); t.After(most) {
		t = most
	}
	return q.Conn.SetDeadline(t)
}

// Read notes that the resolver has not answered.
func (q *question) Read(p []byte) (int, error) {
	n, err := q.Conn.Read(p)
	if err != nil {
		q.failed()
	}
	return n, err
}

// packetQuestion is a question by UDP: that it is a net.PacketConn tells the resolver so.
type packetQuestion struct {
	*question
	net.PacketConn
}

func (q *packetQuestion) Close() error                       { return q.question.Close() }
func (q *packetQuestion) LocalAddr() net.Addr                { return q.question.LocalAddr() }
func (q *packetQuestion) SetDeadline(t time.Time) error      { return q.question.SetDeadline(t) }
func (q *packetQuestion) SetReadDeadline(t time.Time) error  { return q.question.SetReadDeadline(t) }
func (q *packetQuestion) SetWriteDeadline(t time.Time) error { return q.question.SetWriteDeadline(t) }

// lookup resolves a target's name, in the sandbox's turn. The error is a *refusal.
func (n *Server) lookup(ctx context.Context, b *sandbox, t target) (addrs []netip.Addr, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, n.o.LookupTimeout, errLookupSlow)
	defer cancel()
	waited := n.inTurn(ctx, b, func() { addrs, err = n.resolver.LookupNetIP(ctx, "ip", t.dialed()) })
	if waited != nil {
		return nil, waited
	}
	if err != nil {
		return nil, refusalOf(ctx, t, err)
	}
	return addrs, nil
}

// documentation are the networks of examples (RFC 5737, RFC 3849), which are the outside of tests: no other host has their addresses.
var documentation = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("2001:db8::/32"),
}

// hostAddresses are the addresses of this host, where its own services listen.
type hostAddresses struct {
	mu    sync.Mutex
	asked time.Time
	all   map[netip.Addr]struct{}
}

// hostAddressesAge is how long they are taken for true, so that each dial need not ask for them.
const hostAddressesAge = time.Second

// has tells whether an address is one of them. While the kernel does not tell them, each is.
func (h *hostAddresses) has(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range documentation {
		if p.Contains(addr) {
			return false
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil || time.Since(h.asked) > hostAddressesAge {
		all, err := net.InterfaceAddrs()
		if err != nil {
			return true
		}
		h.asked, h.all = time.Now(), make(map[netip.Addr]struct{}, len(all))
		for _, a := range all {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				h.all[p.Addr().Unmap().WithZone("")] = struct{}{}
			}
		}
	}
	_, is := h.all[addr]
	return is
}
