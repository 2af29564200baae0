package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Addresses of the tests' outside.
var (
	goodAddr = netip.MustParseAddr("203.0.113.10")
	nameAddr = netip.MustParseAddrPort("203.0.113.53:53")
)

// listen serves a port of all addresses; only the good address has handle, and whoever comes to another one has met the canary.
func (w *world) listen(port int, handle func(net.Conn)) {
	w.t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		w.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.meet(c, handle) })
		}
	})
	w.t.Cleanup(func() { _ = ln.Close(); all.Wait() })
}

func (w *world) meet(c net.Conn, handle func(net.Conn)) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(hang))
	at := netip.MustParseAddrPort(c.LocalAddr().String())
	if at.Addr().Unmap() == goodAddr {
		handle(c)
		return
	}
	w.mu.Lock()
	w.canary = append(w.canary, at.String())
	w.mu.Unlock()
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary")
}

// record keeps what comes.
func (w *world) record(c net.Conn) {
	_, _ = io.WriteString(c, "hello\n")
	buffer := make([]byte, 4096)
	for {
		n, err := c.Read(buffer)
		w.mu.Lock()
		w.got.Write(buffer[:n])
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// serveSecure speaks HTTPS if the test has a certificate, and records what comes otherwise.
func (w *world) serveSecure(c net.Conn) {
	w.mu.Lock()
	secure := w.secure
	w.mu.Unlock()
	if secure == nil {
		w.record(c)
		return
	}
	w.serveHTTP(tls.Server(c, secure))
}

// serveHTTP answers with the host and the path of each request, unless the test has a handler.
func (w *world) serveHTTP(c net.Conn) {
	w.mu.Lock()
	handler := w.web
	w.mu.Unlock()
	if handler == nil {
		handler = func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprintf(rw, "good %s %s", r.Host, r.URL.Path)
		}
	}
	_ = http.Serve(&once{c: c, gone: make(chan struct{})}, handler)
}

// once is a listener of one connection.
type once struct {
	c     net.Conn
	gone  chan struct{}
	taken bool
}

func (l *once) Accept() (net.Conn, error) {
	if !l.taken {
		l.taken = true
		return &onceConn{l.c, sync.OnceFunc(func() { close(l.gone) })}, nil
	}
	<-l.gone
	return nil, io.EOF
}

func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return l.c.LocalAddr() }

type onceConn struct {
	net.Conn

	leave func()
}

func (c *onceConn) Close() error { defer c.leave(); return c.Conn.Close() }

func (c *onceConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// serveNames is a DNS server.
func (w *world) serveNames() {
	w.t.Helper()
	conn, err := net.ListenPacket("udp", nameAddr.String())
	if err != nil {
		w.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			packet := make([]byte, 1500)
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			all.Go(func() {
				if answer := w.answerName(packet[:n]); answer != nil {
					_, _ = conn.WriteTo(answer, from)
				}
			})
		}
	})
	w.t.Cleanup(func() { _ = conn.Close(); all.Wait() })
}

func (w *world) answerName(packet []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(packet) != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.Additionals = true, nil
	q := m.Questions[0]
	if !w.resolve(&m, q.Name, strings.ToLower(strings.TrimSuffix(q.Name.String(), ".")), q.Type) {
		m.RCode = dnsmessage.RCodeNameError
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}

// resolve adds what a name has to an answer. Of several records a name has one after the other, each for one question by its type; the last
// one stays.
func (w *world) resolve(m *dnsmessage.Message, owner dnsmessage.Name, name string, kind dnsmessage.Type) bool {
	w.mu.Lock()
	all := w.records[name]
	key := name + " " + kind.String()
	at := min(w.asked[key], len(all)-1)
	w.asked[key]++
	w.mu.Unlock()
	if at < 0 {
		return false
	}
	h := dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET}
	switch r := all[at].(type) {
	case func():
		r()
		return false
	case string:
		alias := dnsmessage.MustNewName(r + ".")
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: alias}})
		return w.resolve(m, alias, r, kind)
	case netip.Addr:
		if r.Is4() && kind == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: r.As4()}})
		} else if r.Is6() && kind == dnsmessage.TypeAAAA {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: r.As16()}})
		}
	}
	return true
}

// selfSigned is a certificate for a name.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
