package door

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestQuestions asks in odd ways.
func TestQuestions(t *testing.T) {
	d, dns, _ := shut(t)
	port := freePort(t)
	if err := table(t, plug(t, d, outside(fmt.Sprint(port))), "a.test", fmt.Sprint(port)); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", dns))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	question := func(kind dnsmessage.Type, class dnsmessage.Class, h dnsmessage.Header) []byte {
		m := dnsmessage.Message{Header: h, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.test."), Type: kind, Class: class}}}
		data, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	const classIN = dnsmessage.ClassINET
	for name, test := range map[string]struct {
		query   []byte
		code    dnsmessage.RCode
		answers int
	}{
		"address":     {question(dnsmessage.TypeA, classIN, dnsmessage.Header{ID: 7}), dnsmessage.RCodeSuccess, 1},
		"IPv6":        {question(dnsmessage.TypeAAAA, classIN, dnsmessage.Header{ID: 7}), dnsmessage.RCodeSuccess, 0},
		"HTTPS":       {question(65, classIN, dnsmessage.Header{ID: 7}), dnsmessage.RCodeSuccess, 0},
		"any":         {question(dnsmessage.TypeALL, classIN, dnsmessage.Header{ID: 7}), dnsmessage.RCodeSuccess, 0},
		"chaos":       {question(dnsmessage.TypeTXT, dnsmessage.ClassCHAOS, dnsmessage.Header{ID: 7}), dnsmessage.RCodeNotImplemented, 0},
		"an update":   {question(dnsmessage.TypeA, classIN, dnsmessage.Header{ID: 7, OpCode: 5}), dnsmessage.RCodeNotImplemented, 0},
		"no question": {[]byte{0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, dnsmessage.RCodeFormatError, 0},
	} {
		for _, noise := range [][]byte{{}, {1}, make([]byte, 11), question(dnsmessage.TypeA, classIN, dnsmessage.Header{Response: true})} { // which is not answered
			if _, err := c.Write(noise); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Write(test.query); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 512)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		var got dnsmessage.Message
		if err := got.Unpack(buf[:n]); err != nil || got.ID != 7 || !got.Response || got.RCode != test.code || len(got.Answers) != test.answers {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestManyNames asks for more of them than are known at once: those that were asked for longest ago make room, and no address is given twice.
func TestManyNames(t *testing.T) {
	n := newNames(func(string, int) func(*socket) { return func(c *socket) { c.reset() } })
	port := fmt.Sprint(freePort(t))
	if err := n.list([]string{"listed.test", port}); err != nil {
		t.Fatal(err)
	}
	given := map[[4]byte]bool{}
	for i := range maxNames + 100 {
		addr, err := n.offer(fmt.Sprintf("n%d.test", i), nil)
		if err != nil || given[addr] {
			t.Fatalf("name %d: %v, %v", i, addr, err)
		}
		given[addr] = true
	}
	if _, ok := n.find("listed.test"); !ok || len(n.known) != maxNames || n.known["n0.test"] != nil || n.listeners != 1 {
		t.Errorf("%d names, %d listeners", len(n.known), n.listeners)
	}
	if err := n.list(nil); err != nil || n.listeners != 0 {
		t.Errorf("%d listeners, %v", n.listeners, err)
	}
}

// The longest name with as many addresses as there may be fits what clients take by UDP.
func TestAnswersFitADatagram(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 49)+".", 5) + "abc."
	q := dnsmessage.Question{Name: dnsmessage.MustNewName(long), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	words := slices.Repeat([]string{"203.0.113.1"}, 100)
	answer := message(dnsmessage.Header{ID: 1}, &q, dnsmessage.RCodeSuccess, addressesOf(words)...)
	var m dnsmessage.Message
	if err := m.Unpack(answer); err != nil || len(answer) > 512 || len(m.Answers) != maxAnswers || len(canonical(long)) != maxName {
		t.Errorf("%d addresses in %d bytes, %v", len(m.Answers), len(answer), err)
	}
}
