package outside

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// Record is what the DNS server says of a name. The zero value is a name without addresses.
type Record struct {
	Addresses []netip.Addr
	// Next are the addresses of later questions, one a question of each kind; the last one stays. So a name is bound anew.
	Next []netip.Addr
	// Alias is the name that this one is another name of.
	Alias string
	// Code is what a server answers that has failed.
	Code dnsmessage.RCode
	// Hold keeps answers back until it is closed.
	Hold <-chan struct{}
	// Lie has answers carry the number of another question.
	Lie bool
	// Cut has answers by UDP tell that they are too long.
	Cut bool
}

// Names is a DNS server.
type Names struct {
	end chan struct{} // closed with the world

	mu      sync.Mutex
	records map[string]*Record
	asked   map[string]int
	away    bool
}

func newNames() *Names {
	n := &Names{end: make(chan struct{}), records: map[string]*Record{}, asked: map[string]int{}}
	for name, address := range hosts {
		n.Set(name, Record{Addresses: []netip.Addr{netip.MustParseAddr(address)}})
	}
	n.Set(Alias, Record{Alias: Page})
	return n
}

// Set changes what is said of a name.
func (n *Names) Set(name string, record Record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records[strings.ToLower(name)] = &record
}

// Away has the server answer nothing.
func (n *Names) Away(away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = away
}

// Asked returns how many questions came about a name, of any type.
func (n *Names) Asked(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[strings.ToLower(name)]
}

// serveNames is for a thread in the network.
func (w *World) serveNames() error {
	udp, err := net.ListenPacket("udp", Resolver) //nolint:noctx // the world ends it
	if err != nil {
		return err
	}
	w.owned(udp.Close)
	tcp, err := w.listen(Resolver)
	if err != nil {
		return err
	}
	w.servers.Go(func() { w.Names.servePackets(&w.servers, udp) })
	w.servers.Go(func() { w.accept(tcp, w.Names.serveStream) })
	return nil
}

func (n *Names) servePackets(answers *sync.WaitGroup, conn net.PacketConn) {
	for {
		packet := make([]byte, 4096)
		size, from, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		answers.Go(func() {
			if answer := n.answer(packet[:size], true); answer != nil {
				_, _ = conn.WriteTo(answer, from) // who asks may have gone
			}
		})
	}
}

func (n *Names) serveStream(conn net.Conn) error {
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return err
		}
		packet := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, packet); err != nil {
			return err
		}
		answer := n.answer(packet, false)
		if answer == nil {
			return errors.New("no answer")
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil { //nolint:gosec // it is short
			return err
		}
	}
}

// answer returns what is said to a question, nil for nothing.
func (n *Names) answer(packet []byte, cut bool) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(packet)
	if err != nil {
		return nil
	}
	question, err := parser.Question()
	if err != nil {
		return nil
	}
	reply := dnsmessage.Message{Header: dnsmessage.Header{
		ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
	}, Questions: []dnsmessage.Question{question}}
	if !n.fill(&reply, question, cut) {
		return nil
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// fill answers a question, and follows aliases. It reports whether anything is to be said.
func (n *Names) fill(reply *dnsmessage.Message, question dnsmessage.Question, cut bool) bool {
	name := strings.ToLower(strings.TrimSuffix(question.Name.String(), "."))
	record, addresses, known := n.look(name, question.Type)
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
		return record != nil
	}
	if record.Hold != nil {
		select {
		case <-record.Hold:
		case <-n.end:
			return false
		}
	}
	if record.Lie {
		reply.ID++
	}
	reply.RCode, reply.Truncated = record.Code, record.Cut && cut
	if reply.Truncated {
		return true
	}
	head := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 1}
	if record.Alias != "" {
		to := dnsmessage.MustNewName(record.Alias + ".")
		reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.CNAMEResource{CNAME: to}})
		return n.fill(reply, dnsmessage.Question{Name: to, Type: question.Type, Class: question.Class}, cut)
	}
	for _, address := range addresses {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: head, Body: resource(address)})
	}
	return true
}

// look notes a question and returns what is known of the name, with its addresses of the type. It returns no record when the server is away.
func (n *Names) look(name string, kind dnsmessage.Type) (record *Record, addresses []netip.Addr, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[name]++
	if n.away {
		return nil, nil, false
	}
	record, known = n.records[name]
	if !known {
		return &Record{}, nil, false
	}
	for _, address := range record.Addresses {
		if kind == dnsmessage.TypeA && address.Is4() || kind == dnsmessage.TypeAAAA && address.Is6() {
			addresses = append(addresses, address)
		}
	}
	if len(addresses) > 0 && len(record.Next) > 0 {
		record.Addresses, record.Next = record.Next[:1], record.Next[1:]
	}
	copied := *record
	return &copied, addresses, true
}

func resource(address netip.Addr) dnsmessage.ResourceBody {
	if address.Is4() {
		return &dnsmessage.AResource{A: address.As4()}
	}
	return &dnsmessage.AAAAResource{AAAA: address.As16()}
}
