package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
)

// SOCKS5 (RFC 1928): bytes that are said.
const (
	socksVersion   = 5
	socksNoAuth    = 0
	socksNoMethod  = 0xff
	socksConnect   = 1
	socksIPv4      = 1
	socksName      = 3
	socksIPv6      = 4
	socksOK        = 0
	socksFailed    = 1
	socksDenied    = 2
	socksNotFound  = 4
	socksNoCommand = 7
	socksNoAddress = 8
)

// socks serves a client that speaks SOCKS5, without authentication and with CONNECT only.
func (n *Server) socks(p *proxied) {
	t, code, err := readSocks(p)
	if err != nil {
		if code == socksDenied {
			n.refuse(p.b, target{via: wire.ViaSOCKS}, 0, notAName(err))
		}
		_ = answerSocks(p, code) // the client may have gone
		return
	}
	t = n.bind(p.b, t)
	up, r := n.connect(p.ctx, p.b, t)
	if r != nil {
		_ = answerSocks(p, map[door.Reason]byte{door.Denied: socksDenied, door.NotFound: socksNotFound, door.Busy: socksFailed, door.Failed: socksNotFound}[r.reason])
		return
	}
	if answerSocks(p, socksOK) != nil || p.SetReadDeadline(time.Time{}) != nil {
		up.reset()
		return
	}
	n.relay(p.ctx, p.b, t, p, p, up)
}

// answerSocks answers a request. The address that the connection comes from is of the host.
func answerSocks(w io.Writer, code byte) error {
	_, err := w.Write([]byte{socksVersion, code, 0, socksIPv4, 0, 0, 0, 0, 0, 0})
	return err
}

// readSocks reads what a client asks for. The code is the answer to what is wrong.
func readSocks(rw io.ReadWriter) (t target, code byte, err error) {
	var b [256]byte
	if _, err := io.ReadFull(rw, b[:2]); err != nil {
		return target{}, socksFailed, err
	}
	methods := b[2 : 2+min(int(b[1]), len(b)-2)]
	if _, err := io.ReadFull(rw, methods); err != nil {
		return target{}, socksFailed, err
	}
	if !slices.Contains(methods, socksNoAuth) {
		_, _ = rw.Write([]byte{socksVersion, socksNoMethod})
		return target{}, socksFailed, errors.New("no method that is known")
	}
	if _, err := rw.Write([]byte{socksVersion, socksNoAuth}); err != nil {
		return target{}, socksFailed, err
	}
	if _, err := io.ReadFull(rw, b[:4]); err != nil {
		return target{}, socksFailed, err
	}
	if b[0] != socksVersion || b[2] != 0 || b[1] != socksConnect {
		return target{}, socksNoCommand, fmt.Errorf("command %d", b[1])
	}
	return readSocksTarget(rw, b[3])
}

func readSocksTarget(r io.Reader, kind byte) (t target, code byte, err error) {
	size := map[byte]int{socksIPv4: 4, socksIPv6: 16}[kind]
	var b [256 + 2]byte
	if kind == socksName {
		if _, err := io.ReadFull(r, b[:1]); err != nil {
			return target{}, socksFailed, err
		}
		size = int(b[0])
	}
	if size == 0 {
		return target{}, socksNoAddress, fmt.Errorf("address of kind %d", kind)
	}
	if _, err := io.ReadFull(r, b[:size+2]); err != nil {
		return target{}, socksFailed, err
	}
	host := string(b[:size])
	if kind != socksName {
		addr, _ := netip.AddrFromSlice(b[:size])
		host = addr.String()
	}
	t, err = targetOf(wire.ViaSOCKS, host, int(binary.BigEndian.Uint16(b[size:])))
	if err != nil {
		return target{}, socksDenied, err
	}
	return t, socksOK, nil
}
