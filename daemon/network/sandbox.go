package network

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// sandbox is what a Server knows of one.
type sandbox struct {
	id    string
	rules atomic.Pointer[egress.Rules]
	nic   atomic.Bool   // it has an interface, and its rules are for one
	dials chan struct{} // a slot for each dial or lookup under way
	open  atomic.Int64  // connections
	table chan struct{} // has one when the table is to be sent
	meter meter
	journal

	changing sync.Mutex // held while rules change, and while names pass by the rules that there are

	mu        sync.Mutex
	session   *door.Session // nil while there is none
	forgotten bool
}

func (n *Server) newSandbox(id string) *sandbox {
	return &sandbox{
		id: id, dials: make(chan struct{}, n.o.SandboxDials), table: make(chan struct{}, 1),
		meter: newMeter(), journal: newJournal(),
	}
}

// begin makes s the sandbox's session, and closes the one before; false if the sandbox has been forgotten.
func (b *sandbox) begin(s *door.Session) bool {
	b.mu.Lock()
	before := b.session
	if !b.forgotten {
		b.session = s
	}
	ok := !b.forgotten
	b.mu.Unlock()
	if before != nil && ok {
		before.Close()
	}
	if ok {
		b.tableChanged()
	}
	return ok
}

// end closes s, and leaves the sandbox without it.
func (b *sandbox) end(s *door.Session) {
	s.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session == s {
		b.session = nil
	}
}

func (b *sandbox) forget() {
	b.mu.Lock()
	s := b.session
	b.session, b.forgotten = nil, true
	b.mu.Unlock()
	if s != nil {
		s.Close()
	}
	b.journal.end()
}

func (b *sandbox) current() *door.Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session
}

func (b *sandbox) tableChanged() {
	select {
	case b.table <- struct{}{}:
	default:
	}
}

// tableTime is how long process 1 may take for a table. It has none then: each name that it does not know it asks for.
const tableTime = time.Minute

// sendTables tells process 1 the names that may be reached, now and whenever they change, until ctx ends.
func (n *Server) sendTables(ctx context.Context, b *sandbox, s *door.Session) {
	for {
		select {
		case <-b.table:
		case <-s.Done():
			b.tableChanged() // for the next session
			return
		case <-ctx.Done():
			return
		}
		if err := n.sendTable(ctx, b, s); err != nil && !errors.Is(err, door.ErrLost) && context.Cause(ctx) == nil { // else the session ends
			n.o.Log.Warn("names that a sandbox may reach could not be sent: it asks for each", "sandbox", b.id, "err", err)
		}
	}
}

func (n *Server) sendTable(ctx context.Context, b *sandbox, s *door.Session) error {
	ctx, cancel := context.WithTimeout(ctx, tableTime)
	defer cancel()
	stream, _, err := s.Open(ctx, door.Ask{Kind: door.Table, Words: n.tableWords(b)})
	if err != nil {
		return err
	}
	_ = stream.Close() // it has said all
	return nil
}

// tableWords are the names of a table, each with its ports. A sandbox with an interface asks for each name, since it is told real addresses.
func (n *Server) tableWords(b *sandbox) []string {
	if b.nic.Load() {
		return nil
	}
	table := n.names(b.rules.Load())
	words := make([]string, 0, 2*len(table))
	for _, name := range table {
		words = append(words, name.Name, portsWord(name.Ports))
	}
	return words
}

func portsWord(ports []int) string {
	all := make([]string, len(ports))
	for i, p := range ports {
		all[i] = strconv.Itoa(p)
	}
	return strings.Join(all, ",")
}
