package network

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Types of TLS records, and of the message in the first one of a handshake.
const (
	recordChange    = 20 // change cipher spec
	recordAlert     = 21
	recordHandshake = 22
	recordLast      = 24
	messageHello    = 1
)

const (
	recordHeader = 5
	// maxRecords is how many records before the first that is encrypted are passed on.
	maxRecords = 16
	// helloTime is how long a record may take once it has begun.
	helloTime = 10 * time.Second
)

// guard passes on what a client says first, and looks whether it begins TLS with another name than it was connected to: a server may serve
// that name as well (domain fronting). What does not begin as TLS is nobody's business, but for port 443, where it has to be text, as the first
// words of SSH and HTTP are: else it could be the hello of an SSL that has no names. TLS that begins later, as after STARTTLS, is not seen.
type guard struct {
	name   string
	port   int
	hidden bool     // a name that is encrypted (ECH) may be there, too
	client net.Conn // for its deadlines
	said   *bufio.Reader
	to     io.Writer
	begun  bool // there was a hello
}

// wrongTLS is why a client's TLS is refused.
type wrongTLS struct{ text string }

func (w *wrongTLS) Error() string { return w.text }

func (g *guard) wrong(what string) error {
	return &wrongTLS{fmt.Sprintf("The client was connected to %s, and %s.", g.name, what)}
}

// pass passes on all that has to be looked at. What comes then is left to be read.
func (g *guard) pass() error {
	first, err := g.said.Peek(1)
	if err != nil || !g.isTLS(first[0]) {
		return ignoreEnd(err)
	}
	for range maxRecords {
		if more, err := g.record(); err != nil || !more {
			return err
		}
	}
	return g.wrong("sent too many records before those that are encrypted")
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (g *guard) isTLS(first byte) bool {
	isText := first >= ' ' && first <= '~' || first == '\r' || first == '\n'
	return first >= recordChange && first <= recordLast || g.port == 443 && !isText
}

// record passes on one record before those that are encrypted; more is false if there is none. There can be two hellos: a server may ask
// for another one.
func (g *guard) record() (more bool, err error) {
	if _, err := g.said.Peek(1); err != nil {
		return false, ignoreEnd(err)
	}
	if err := g.client.SetReadDeadline(time.Now().Add(helloTime)); err != nil {
		return false, err
	}
	defer func() { _ = g.client.SetReadDeadline(time.Time{}) }()
	head, err := g.said.Peek(recordHeader + 1)
	if err != nil {
		return false, g.wrong("did not end a record of TLS")
	}
	size := int(binary.BigEndian.Uint16(head[3:]))
	switch {
	case size == 0:
		return false, g.wrong("sent an empty record of TLS")
	case head[0] == recordHandshake && head[recordHeader] == messageHello:
		return true, g.hello()
	case head[0] == recordAlert && size == 2, head[0] == recordChange && size == 1:
		_, err := io.CopyN(g.to, g.said, int64(recordHeader+size))
		return true, err
	case g.begun:
		return false, nil
	}
	return false, g.wrong("began with something else than the hello of TLS")
}
