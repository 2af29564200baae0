package network

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// clientHello is the first record of a client that asks for a name.
func clientHello(t *testing.T, name string, with func(*tls.Config)) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	config := &tls.Config{ServerName: name, InsecureSkipVerify: true}
	if with != nil {
		with(config)
	}
	go func() { _ = tls.Client(theirs, config).Handshake(); _ = theirs.Close() }()
	_ = ours.SetDeadline(time.Now().Add(hang))
	head := make([]byte, recordHeader)
	if _, err := io.ReadFull(ours, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(ours, body); err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	return append(head, body...)
}

// records cuts a record into records of a size.
func cut(record []byte, size int) (all []byte) {
	for part := range slices.Chunk(record[recordHeader:], size) {
		all = append(all, record[0], record[1], record[2], byte(len(part)>>8), byte(len(part)))
		all = append(all, part...)
	}
	return all
}

// TestGuard has clients that were connected to good.example say something at its port 443.
func TestGuard(t *testing.T) {
	hello := func(name string) []byte { return clientHello(t, name, nil) }
	good, other := hello("good.example"), hello("front.example")
	noName := clientHello(t, "", nil)
	withECH := addExtension(good, extensionECH)
	version := func(record []byte, major, minor byte) []byte {
		changed := slices.Clone(record)
		changed[1], changed[2] = major, minor
		return changed
	}
	alert, change := []byte{recordAlert, 3, 3, 0, 2, 1, 0}, []byte{recordChange, 3, 3, 0, 1, 1}
	data := []byte{23, 3, 3, 0, 4, 'd', 'a', 't', 'a'}
	ssl2 := []byte{0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 2, 3}
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	trailing := slices.Clone(join(good, other[recordHeader:]))
	binary.BigEndian.PutUint16(trailing[3:], uint16(len(trailing)-recordHeader))
	for _, c := range []struct {
		what string
		said []byte
		pass []byte // of it
		why  string // the rest was refused
	}{
		{"the right name", join(good, data), join(good, data), ""},
		{"the right name in other letters", hello("GOOD.example"), hello("good.example")[:1], ""},
		{"the right name in many records", cut(good, 1), cut(good, 1), ""},
		{"the right name, twice", join(good, change, good, data), join(good, change, good, data), ""},
		{"the right name, and TLS 1.2", join(good, []byte{recordHandshake, 3, 3, 0, 4, 16, 0, 0, 0}, change, data), join(good, []byte{recordHandshake, 3, 3, 0, 4, 16, 0, 0, 0}, change, data), ""},
		{"words", []byte("SSH-2.0-x\r\n"), []byte("SSH-2.0-x\r\n"), ""},
		{"another name", other, nil, `asks for "front.example"`},
		{"another name in many records", cut(other, 1), nil, `asks for "front.example"`},
		{"another name in a record of another version", version(other, 2, 0), nil, `asks for "front.example"`},
		{"another name in a record of an odd version", version(other, 0x7f, 0), nil, "cannot be read"},
		{"another name behind an alert", join(alert, other), alert, `asks for "front.example"`},
		{"another name behind a change of cipher", join(change, other), change, `asks for "front.example"`},
		{"another name behind many alerts", join(slices.Repeat(alert, maxRecords+1), other), slices.Repeat(alert, maxRecords), "too many records"},
		{"another name behind an empty record", join([]byte{recordHandshake, 3, 1, 0, 0}, other), nil, "empty record"},
		{"another name behind data", join(data, other), nil, "something else than the hello"},
		{"another name in a second hello", join(good, change, other), join(good, change), `asks for "front.example"`},
		{"another name in a second hello in many records", join(good, cut(other, 3)), good, `asks for "front.example"`},
		{"another name in the record of the first hello", trailing, nil, "followed by something else"},
		{"no name", noName, nil, "asks for no name"},
		{"a hidden name", withECH, nil, "hides a second name"},
		{"a hello of SSL 2", ssl2, nil, "something else than the hello"},
		{"half a hello", good[:40], nil, "cannot be read"},
		{"a hello that is none", []byte{recordHandshake, 3, 1, 0, 5, 1, 0, 0, 1, 0}, nil, "cannot be read"},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, Options{}, guarded)
			st := w.connect("good.example", 443)
			read(t, st, len("hello\n"))
			_, _ = st.Write(c.said)
			_ = st.CloseWrite()
			_, _ = io.ReadAll(st)
			w.wait("the connection is closed", func() bool { return len(w.entries(wire.NetworkClosed)) == 1 })
			w.wait("the outside has it", func() bool { return len(w.received()) >= len(c.pass) || c.why != "" })
			got := w.received()
			denials := w.entries(wire.NetworkDenied)
			if c.why == "" {
				if !strings.HasPrefix(got, string(c.pass[:1])) || len(c.pass) > 1 && got != string(c.pass) || len(denials) > 0 {
					t.Errorf("the outside got %q, want %q; denied: %v", got, c.pass, denials)
				}
				return
			}
			if strings.TrimPrefix(string(c.pass), got) == got && got != "" {
				t.Errorf("the outside got %q, want no more than %q", got, c.pass)
			}
			if len(denials) != 1 || denials[0].Kind != egress.KindSNI || !strings.Contains(denials[0].Message, c.why) || denials[0].Connection == 0 {
				t.Errorf("denied: %+v, want %q", denials, c.why)
			}
		})
	}
}

// addExtension adds an empty extension to a hello.
func addExtension(record []byte, kind uint16) []byte {
	r := slices.Clone(record)
	at := recordHeader + 4 + 2 + 32
	at += 1 + int(r[at])                           // session
	at += 2 + int(binary.BigEndian.Uint16(r[at:])) // ciphers
	at += 1 + int(r[at])                           // compression
	add := func(at int, n uint16) { binary.BigEndian.PutUint16(r[at:], binary.BigEndian.Uint16(r[at:])+n) }
	add(at, 4)             // all extensions
	add(recordHeader+2, 4) // the message, whose length has three bytes
	add(recordHeader-2, 4) // the record
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(r, kind), 0)
}

// TestGuardOfOthers has TLS without the right name pass where no name was asked for, and a hidden name where every name is allowed.
func TestGuardOfOthers(t *testing.T) {
	other := clientHello(t, "front.example", nil)
	w := newWorld(t, Options{}, box("*", "203.0.113.10"))
	hidden := addExtension(clientHello(t, "good.example", nil), extensionECH)
	st := w.connect("good.example", 443)
	_, _ = st.Write(hidden)
	w.wait("a hidden name is passed on", func() bool { return w.received() == string(hidden) })
	st = w.proxy()
	_, _ = io.WriteString(st, socksAddress("203.0.113.10", 443))
	_, _ = st.Write(other)
	w.wait("what was connected by address is passed on", func() bool { return w.received() == string(hidden)+string(other) })
}

// TestGuardWaitsForWords has a client that says little, or nothing, be heard at once.
func TestGuardWaitsForWords(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:7,443"))
	for range 3 {
		st := w.connect("good.example", 7)
		_, _ = io.WriteString(st, "a")
		if got := read(t, st, 1); got != "a" {
			t.Errorf("got %q", got)
		}
	}
	st := w.connect("good.example", 443)
	if got := read(t, st, 6); got != "hello\n" {
		t.Errorf("got %q", got)
	}
	_ = st.CloseWrite()
	if _, err := io.ReadAll(st); err != nil {
		t.Errorf("a client that says nothing: %v", err)
	}
}

// TestTLSByDoorAndProxy speaks TLS with a server, in each way.
func TestTLSByDoorAndProxy(t *testing.T) {
	w := newWorld(t, Options{}, box("good.example:8443"))
	certificate := selfSigned(t, "good.example")
	w.listen(8443, func(c net.Conn) {
		server := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}})
		_, _ = io.Copy(server, server)
		_ = server.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	for via, open := range map[string]func() *door.Stream{
		"name": func() *door.Stream { return w.connect("good.example", 8443) },
		"socks": func() *door.Stream {
			st := w.proxy()
			_, _ = io.WriteString(st, socksRequest("good.example", 8443))
			read(t, st, 12)
			return st
		},
		"connect": func() *door.Stream {
			st := w.proxy()
			_, _ = io.WriteString(st, "CONNECT good.example:8443 HTTP/1.1\r\nHost: good.example:8443\r\n\r\n")
			read(t, st, len("HTTP/1.1 200 Connection established\r\n\r\n"))
			return st
		},
	} {
		client := tls.Client(open(), &tls.Config{ServerName: "good.example", InsecureSkipVerify: true})
		if err := client.HandshakeContext(ctx); err != nil {
			t.Errorf("%s: %v", via, err)
			continue
		}
		_, _ = io.WriteString(client, "ping")
		if got := read(t, client, 4); got != "ping" {
			t.Errorf("%s: got %q", via, got)
		}
		_ = client.Close()
	}
}
