package network

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	// maxHello bounds the records of one hello, in bytes.
	maxHello = 80 << 10
	// maxRecord is the largest record, in bytes.
	maxRecord = 16<<10 + 256
	// extensionECH says that a second name is there, encrypted (RFC 9849).
	extensionECH = 0xfe0d
)

// errSeen ends a handshake that was begun to see its hello.
var errSeen = errors.New("seen")

// hello looks at a hello, and passes it on if it carries the right name.
func (g *guard) hello() error {
	r := &helloReader{said: g.said}
	var info *tls.ClientHelloInfo
	config := &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		info = i
		return nil, errSeen
	}}
	if err := tls.Server(r, config).Handshake(); info == nil { //nolint:noctx // the client's deadline is set
		return g.wrong(fmt.Sprintf("its hello of TLS cannot be read (%v)", err))
	}
	switch name := strings.ToLower(info.ServerName); {
	case !r.whole():
		return g.wrong("its hello of TLS is followed by something else in the same record")
	case name == "":
		return g.wrong("its TLS asks for no name (SNI)")
	case name != g.name:
		return g.wrong(fmt.Sprintf("its TLS asks for %q", info.ServerName))
	case !g.hidden && slices.Contains(info.Extensions, extensionECH):
		return g.wrong("its TLS hides a second name (ECH); switch that off in the client")
	}
	g.begun = true
	_, err := g.to.Write(r.raw.Bytes())
	return err
}

// helloReader gives a TLS server the records of one message, and keeps them. It reads nothing beyond the record in which the message ends.
// What the server says is dropped.
type helloReader struct {
	net.Conn // nil: all that is used is below

	said *bufio.Reader
	left int // bytes of the record that is read
	raw  bytes.Buffer
}

func (r *helloReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		head, err := r.said.Peek(recordHeader)
		if err != nil {
			return 0, err
		}
		size := int(binary.BigEndian.Uint16(head[3:]))
		if head[0] != recordHandshake || size == 0 || size > maxRecord || r.raw.Len()+size > maxHello {
			return 0, errors.New("it is broken off")
		}
		r.left = recordHeader + size
	}
	n, err := r.said.Read(p[:min(len(p), r.left)])
	r.raw.Write(p[:n])
	r.left -= n
	return n, err
}

func (r *helloReader) Write(p []byte) (int, error)      { return len(p), nil }
func (r *helloReader) Close() error                     { return nil }
func (r *helloReader) SetWriteDeadline(time.Time) error { return nil }

// whole tells whether the records hold one message and nothing else.
func (r *helloReader) whole() bool {
	var message []byte
	for rest := r.raw.Bytes(); len(rest) >= recordHeader; {
		end := recordHeader + int(binary.BigEndian.Uint16(rest[3:]))
		if end > len(rest) {
			return false
		}
		message, rest = append(message, rest[recordHeader:end]...), rest[end:]
	}
	const head = 4 // its type, and its length in three bytes
	return r.left == 0 && len(message) >= head && len(message) == head+int(binary.BigEndian.Uint32(message)&0xffffff)
}
