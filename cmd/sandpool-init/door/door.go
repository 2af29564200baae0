// Package door is process 1's end of a sandbox's door. It answers questions for names and takes connections to them, which it carries to the daemon. It decides
// nothing, and knows no protocol but DNS. It does without the dialling of package net, as all of process 1 does.
package door

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"sandpool/runtime/door"
)

// Bounds of a sandbox's own, which has the memory of them.
const (
	maxConnections = 224 // so that questions have places beside them
	maxQuestions   = 32  // to the daemon
	maxTCPClients  = 16  // of the DNS server
)

const (
	// awaitTime is how long a connection or question waits for a place and for the daemon to be there.
	awaitTime = 10 * time.Second
	// answerTime is how long the daemon may take to connect.
	answerTime = 2 * time.Minute
)

// Options are where the door listens beside the addresses of names: ports of 127.0.0.1, or 0 for any.
type Options struct {
	DNS   int
	Proxy int
	Log   func(format string, args ...any)
}

// Door carries connections between a sandbox and the daemon.
type Door struct {
	options   Options
	opening   sync.Once
	names     *names
	slots     chan struct{} // connections
	questions chan struct{}
	clients   chan struct{} // of the DNS server, by TCP

	mu      sync.Mutex
	session *door.Session
	changed chan struct{} // closed when there is another session
}

// New returns a door that is shut: it listens once there is a session.
func New(o Options) *Door {
	d := &Door{
		options: o, slots: make(chan struct{}, maxConnections), questions: make(chan struct{}, maxQuestions), clients: make(chan struct{}, maxTCPClients),
		changed: make(chan struct{}),
	}
	d.names = newNames(func(name string, port int) func(*socket) {
		return func(c *socket) { d.carry(c, door.Ask{Kind: door.Connect, Name: name, Port: port}) }
	})
	return d
}

// Serve serves the daemon over a pair of pipes until the session ends. It ends the one before.
func (d *Door) Serve(in, out *os.File) {
	d.opening.Do(d.open)
	s := door.New(in, out, door.Options{Tables: true})
	d.mu.Lock()
	before := d.session
	d.session = s
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
	if before != nil {
		before.Close()
	}
	if err := s.Serve(d.accept); err != nil {
		d.options.Log("sandpool-init: the door: %v", err)
	}
}

// open begins to listen. What cannot be listened on is reported, and the rest serves.
func (d *Door) open() {
	if err := d.serveDNS(d.options.DNS); err != nil {
		d.options.Log("sandpool-init: names are not answered: %v", err)
	}
	_, err := listen(loopback(d.options.Proxy), func(c *socket) { d.carry(c, door.Ask{Kind: door.Proxy}) })
	if err != nil {
		d.options.Log("sandpool-init: there is no proxy: %v", err)
	}
}

// accept does what the daemon asks for.
func (d *Door) accept(st *door.Stream) {
	var err error
	switch ask := st.Ask(); ask.Kind {
	case door.Table:
		if err = d.names.list(ask.Words); err == nil {
			_ = st.Accept()
		}
	case door.Dial:
		var c *socket
		if c, err = dial(ask.Port); err == nil {
			if st.Accept() != nil {
				_ = c.Close()
				return
			}
			join(st, c)
		}
	default:
		err = errors.New("the init knows no such request")
	}
	if err != nil {
		_ = st.Refuse(door.Refusal{Reason: door.Failed, Text: err.Error()})
	}
}

// ask asks the daemon for a stream. It waits for a session if there is none, or while one ends.
func (d *Door) ask(a door.Ask) (*door.Stream, []string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	timer := time.NewTimer(awaitTime)
	defer timer.Stop()
	for {
		d.mu.Lock()
		s, changed := d.session, d.changed
		d.mu.Unlock()
		if s != nil {
			st, words, err := s.Open(ctx, a)
			if !errors.Is(err, door.ErrLost) {
				return st, words, err
			}
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil, nil, &door.Refusal{Reason: door.Away, Text: "the daemon is not there"}
		}
	}
}

// carry carries a client's connection to the daemon. One that is refused is reset.
func (d *Door) carry(c *socket, a door.Ask) {
	if !enter(d.slots) {
		c.reset()
		return
	}
	defer func() { <-d.slots }()
	st, _, err := d.ask(a)
	if err != nil {
		c.reset()
		return
	}
	join(st, c)
}

// enter takes one of as many places as there are, if one becomes free in time.
func enter(places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(awaitTime)
	defer timer.Stop()
	select {
	case places <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}
