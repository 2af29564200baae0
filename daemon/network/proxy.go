package network

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
)

// proxyTime is how long a client of the proxy may take to say what it wants.
const proxyTime = 30 * time.Second

// proxied is a client of the proxy, or one that was connected to a name and speaks HTTP.
type proxied struct {
	*door.Stream

	said *bufio.Reader // of the stream
	ctx  context.Context
	b    *sandbox
	once sync.Once
	gone chan struct{} // closed with it

	bound *bound // nil for a client of the proxy
}

func (p *proxied) Read(to []byte) (int, error) { return p.said.Read(to) }

// WriteTo is in place of the stream's, which does not know what was read ahead.
func (p *proxied) WriteTo(w io.Writer) (int64, error) { return p.said.WriteTo(w) }

// Close closes the stream.
func (p *proxied) Close() error {
	p.once.Do(func() { close(p.gone) })
	return p.Stream.Close()
}

// proxy serves a client of the proxy, which speaks HTTP or SOCKS5.
func (n *Server) proxy(ctx context.Context, b *sandbox, st *door.Stream) {
	p := &proxied{Stream: st, said: bufio.NewReader(st), ctx: ctx, b: b, gone: make(chan struct{})}
	_ = st.SetReadDeadline(time.Now().Add(proxyTime))
	first, err := p.said.Peek(1)
	if err != nil {
		return
	}
	switch {
	case first[0] == socksVersion:
		n.socks(p)
		return
	case first[0] < 'A' || first[0] > 'Z': // no method of HTTP
		n.refuse(b, target{via: wire.ViaSOCKS}, 0, notAName(errors.New("the proxy speaks HTTP and SOCKS5 only")))
		return
	}
	_ = st.SetReadDeadline(time.Time{})
	n.serveHTTP(p)
}

// oneListener has one connection, and ends with it.
type oneListener struct {
	p     *proxied
	taken bool
}

func (l *oneListener) Accept() (net.Conn, error) {
	if !l.taken {
		l.taken = true
		return l.p, nil
	}
	<-l.p.gone
	return nil, net.ErrClosed
}

func (l *oneListener) Close() error   { return nil }
func (l *oneListener) Addr() net.Addr { return l.p.LocalAddr() }
