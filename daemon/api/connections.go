package api

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// filesPerConnection is what a connection may take: itself, and the input, output and errors of an exec.
	filesPerConnection = 4
	// turnAways is how many connections that are refused are waited for at a time; others are answered unread.
	turnAways = 16
	// turnAwayTime is how long the client of one of those may take for its request, and to read the answer.
	turnAwayTime = time.Second
)

// roomForConnections is how many connections of users, and as many of operators, leave files to all else. 0 is never returned.
func roomForConnections() int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 1
	}
	return int(max(1, min(files.Cur, 1<<30)/(4*filesPerConnection)))
}

// connections lets connections in as far as there is room, and answers the others.
type connections struct {
	*shares

	slots chan struct{} // turnAways
	away  sync.WaitGroup

	mu   sync.Mutex
	idle []*refusingConn // those between two requests, the longest idle first
}

func newConnections(s *shares) *connections {
	return &connections{shares: s, slots: make(chan struct{}, turnAways)}
}

// admit lets a connection in until it is closed. One that is idle makes room: its client can connect again.
func (c *connections) admit(conn *refusingConn) error {
	who, err := peer(conn.UnixConn)
	if err != nil {
		return errUnknownActor
	}
	for {
		err := c.try(who)
		if err == nil {
			conn.who, conn.leave = who, sync.OnceFunc(func() { c.leave(who) })
			return nil
		}
		if !c.closeIdle(func(other actor) bool {
			return other.uid == who.uid || !errors.Is(err, errTooMany) && other.operates() == who.operates()
		}) {
			c.refused()
			return err
		}
	}
}

// closeIdle closes the connection that is idle for the longest of those whose users are among them.
func (c *connections) closeIdle(among func(actor) bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.idle, func(conn *refusingConn) bool { return among(conn.who) })
	if i < 0 {
		return false
	}
	conn := c.idle[i]
	c.idle = slices.Delete(c.idle, i, i+1)
	_ = conn.Close()
	return true
}

// rests notes that a connection is idle, or is not any more.
func (c *connections) rests(conn *refusingConn, idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if idle {
		c.idle = append(c.idle, conn)
	} else if i := slices.Index(c.idle, conn); i >= 0 {
		c.idle = slices.Delete(c.idle, i, i+1)
	}
}

// turnAway answers a connection with why there is no room for it, and closes it. It never blocks.
func (c *connections) turnAway(conn *net.UnixConn, why error) {
	answer := describe(why)
	text := refuse(*answer)
	select {
	case c.slots <- struct{}{}:
	default:
		_, _ = conn.Write(text) // there is room for it: nothing was sent before
		_ = conn.Close()
		return
	}
	c.away.Go(func() {
		defer func() { <-c.slots }()
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(turnAwayTime)) // an error means that it is closed, as below
		awaitHeader(conn)                                  // a client that is answered before it has asked may take that for a fault
		_ = conn.SetDeadline(time.Now().Add(turnAwayTime))
		if _, err := conn.Write(text); err == nil && conn.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, conn) // the rest of its body, up to the deadline
		}
	})
}

// awaitHeader reads until a request's header is over, or its connection ends or is too late.
func awaitHeader(conn io.Reader) {
	buf := make([]byte, 0, maxHeader)
	for len(buf) < cap(buf) && !bytes.Contains(buf, []byte("\r\n\r\n")) {
		n, err := conn.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return
		}
		buf = buf[:len(buf)+n]
	}
}
