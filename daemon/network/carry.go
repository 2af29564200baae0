package network

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"

	"sandpool/runtime/egress"
)

// client is a sandbox's end of a connection.
type client interface {
	net.Conn
	io.ReaderFrom // which has no buffer for a connection where nothing comes
	CloseWrite() error
	Reset()
}

// carry carries bytes between a client and an upstream until both ends have said all, or one is broken: then the other is, too. Both are
// closed in the end. The client's bytes are read from said.
func (n *Server) carry(b *sandbox, t target, c client, said io.Reader, up *upstream) {
	var both sync.WaitGroup
	both.Go(func() {
		_, err := c.ReadFrom(up)
		if err == nil {
			err = c.CloseWrite()
		}
		if err != nil {
			up.reset()
			c.Reset()
		}
	})
	if err := n.send(b, t, c, bufio.NewReaderSize(said, readAhead), up); err != nil {
		if text, ok := errors.AsType[*wrongTLS](err); ok {
			r := denied(egress.Verdict{Kind: egress.KindSNI, Text: text.Error()})
			n.refuse(b, t, up.opened.Connection, r)
		}
		up.reset()
		c.Reset()
	}
	both.Wait()
	_ = up.Close()
	_ = c.Close()
}

// readAhead is how much of what a client says is read before it is looked at, in bytes. What comes behind that is not buffered here.
const readAhead = 512

// send carries what the client says. A client that begins TLS has to begin it with the name that it was connected to.
func (n *Server) send(b *sandbox, t target, c client, said *bufio.Reader, up *upstream) error {
	if t.name != "" {
		g := guard{name: t.name, port: t.port, hidden: anyName(b.rules.Load(), t.port), client: c, said: said, to: up}
		if err := g.pass(); err != nil {
			return err
		}
	}
	if _, err := io.Copy(up, said); err != nil {
		return err
	}
	return up.CloseWrite()
}

// anyName tells whether the rules allow a name that none of them is about.
func anyName(rules *egress.Rules, port int) bool { return rules.Name("a.invalid", port).Allowed }
