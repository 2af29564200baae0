package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// InitPath is the sandbox's own init, which has process 1 start programs.
const InitPath = "/.sandpool/init"

// Forward connects a stream to a TCP port inside a claim's sandbox, for which the sandbox needs no network: from is sent to
// the port until it ends, and what comes from there is written to to. It returns when the program in the sandbox ended the
// connection. That nobody listens there is an error.
func (c *Client) Forward(ctx context.Context, id string, port int, from io.Reader, to io.Writer) error {
	var said bytes.Buffer
	exit, err := c.converse(ctx, claimPath(id)+"/ports/"+strconv.Itoa(port), nil, Stdio{In: from, Out: to, Err: &said})
	if err == nil && exit != 0 {
		err = errors.New(string(bytes.TrimSpace(said.Bytes())))
	}
	if err != nil {
		return fmt.Errorf("forward to port %d of %s: %w", port, id, err)
	}
	return nil
}

// DialPort is Forward as a connection. Why it failed is what the first Read or Write after that returns.
func (c *Client) DialPort(ctx context.Context, id string, port int) net.Conn {
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	conn := &portConn{Conn: near, hangUp: cancel, ended: make(chan struct{})}
	go func() {
		conn.err = c.Forward(ctx, id, port, far, far)
		close(conn.ended)
		_ = far.Close()
	}()
	return conn
}

type portConn struct {
	net.Conn
	hangUp context.CancelFunc
	ended  chan struct{} // closed when err is set
	err    error
}

func (c *portConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.why(err)
}

func (c *portConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.why(err)
}

// why tells why the other end of the pipe was closed.
func (c *portConn) why(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	select {
	case <-c.ended:
		return cmp.Or(c.err, err)
	default: // it was this end
		return err
	}
}

func (c *portConn) Close() error {
	c.hangUp()
	return c.Conn.Close()
}
