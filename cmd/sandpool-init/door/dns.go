package door

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"sandpool/runtime/door"
)

const (
	ttl        = 60 // seconds; addresses do not change, so it could be longer
	maxQuery   = 4096
	clientTime = 30 * time.Second // how long a client by TCP may take for a question
)

// serveDNS answers questions by UDP and TCP at a port of 127.0.0.1.
func (d *Door) serveDNS(port int) error {
	fd, err := bind(unix.SOCK_DGRAM, loopback(port))
	if err != nil {
		return err
	}
	go d.answerDatagrams(os.NewFile(uintptr(fd), "dns"))
	_, err = listen(loopback(port), func(c *socket) {
		defer func() { _ = c.Close() }()
		if enter(d.clients) {
			defer func() { <-d.clients }()
			_ = d.answerClient(c)
		}
	})
	return err
}

// answerDatagrams answers what comes by UDP.
func (d *Door) answerDatagrams(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	query := make([]byte, maxQuery)
	for {
		var size int
		var from unix.Sockaddr
		waiting := raw.Read(func(fd uintptr) bool {
			size, from, err = unix.Recvfrom(int(fd), query, 0)
			return !errors.Is(err, unix.EAGAIN)
		})
		if waiting != nil {
			return
		}
		if err != nil {
			time.Sleep(pauseTime)
			continue
		}
		d.answer(query[:size], func(answer []byte) {
			_ = raw.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), answer, 0, from) }) // a client asks again
		})
	}
}

// answerClient answers one question after the other of a client by TCP, until it leaves.
func (d *Door) answerClient(c *socket) error {
	answers := make(chan []byte, 1)
	for {
		if err := c.SetDeadline(time.Now().Add(clientTime)); err != nil {
			return err
		}
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return err
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return err
		}
		if !d.answer(query, func(answer []byte) { answers <- answer }) {
			return errors.New("that is no question")
		}
		answer := <-answers
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil { //nolint:gosec // of one question and one address
			return err
		}
	}
}

// answer has say called with the answer to a question, at once or once the daemon has been asked. It returns false for what is none.
func (d *Door) answer(query []byte, say func(answer []byte)) bool {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return false
	}
	q, err := p.Question()
	if err != nil || h.OpCode != 0 || q.Class != dnsmessage.ClassINET {
		code := dnsmessage.RCodeFormatError
		if err == nil {
			code = dnsmessage.RCodeNotImplemented
		}
		say(message(h, nil, code))
		return true
	}
	name := canonical(q.Name.String())
	if addr, ok := d.names.find(name); ok {
		say(message(h, &q, dnsmessage.RCodeSuccess, addr))
		return true
	}
	if name == "" || len(name) > maxName || strings.HasSuffix(name, ".arpa") {
		say(message(h, &q, dnsmessage.RCodeNameError))
		return true
	}
	select {
	case d.questions <- struct{}{}:
		go func() {
			defer func() { <-d.questions }()
			addrs, code := d.resolve(name)
			say(message(h, &q, code, addrs...))
		}()
	default:
		say(message(h, &q, dnsmessage.RCodeServerFailure))
	}
	return true
}

// resolve asks the daemon for a name. Where the sandbox has an interface the daemon says the addresses; else the name is given one, by whose ports it is carried.
func (d *Door) resolve(name string) (addrs [][4]byte, code dnsmessage.RCode) {
	st, words, err := d.ask(door.Ask{Kind: door.Resolve, Name: name})
	if refusal, ok := errors.AsType[*door.Refusal](err); ok && (refusal.Reason == door.Denied || refusal.Reason == door.NotFound) {
		return nil, dnsmessage.RCodeNameError
	}
	if err != nil {
		return nil, dnsmessage.RCodeServerFailure
	}
	_ = st.Close()
	if addrs = addressesOf(words); addrs != nil {
		return addrs, dnsmessage.RCodeSuccess
	}
	ports, err := portsOf(words)
	var addr [4]byte
	if err == nil {
		addr, err = d.names.offer(name, ports)
	}
	if err != nil {
		d.options.Log("sandpool-init: offer %q: %v", name, err)
		return nil, dnsmessage.RCodeServerFailure
	}
	return [][4]byte{addr}, dnsmessage.RCodeSuccess
}

// maxAnswers is how many addresses an answer has at most, so that all of it has no more than maxDatagram bytes, which is what every client takes by UDP.
const (
	maxAnswers  = 15
	maxDatagram = 512
)

// addressesOf are the addresses of IPv4 that words are, nil if they are something else.
func addressesOf(words []string) (addrs [][4]byte) {
	for _, word := range words[:min(len(words), maxAnswers)] {
		addr, err := netip.ParseAddr(word)
		if err != nil || !addr.Is4() {
			return nil
		}
		addrs = append(addrs, addr.As4())
	}
	return addrs
}

// message is an answer: the addresses to a question for them, and nothing to those for what else a name has.
func message(asked dnsmessage.Header, q *dnsmessage.Question, code dnsmessage.RCode, addrs ...[4]byte) []byte {
	b := dnsmessage.NewBuilder(make([]byte, 0, maxDatagram), dnsmessage.Header{
		ID: asked.ID, Response: true, OpCode: asked.OpCode, RecursionDesired: asked.RecursionDesired, RecursionAvailable: true, RCode: code,
	})
	b.EnableCompression() // of the name, which each address has
	if q != nil {
		_ = b.StartQuestions() // in order, and of what was parsed: there is no error
		_ = b.Question(*q)
		if code == dnsmessage.RCodeSuccess && q.Type == dnsmessage.TypeA {
			_ = b.StartAnswers()
			for _, addr := range addrs {
				_ = b.AResource(dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: ttl}, dnsmessage.AResource{A: addr})
			}
		}
	}
	answer, err := b.Finish()
	if err != nil {
		return nil
	}
	return answer
}
