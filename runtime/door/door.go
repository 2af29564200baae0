// Package door carries connections in and out of a sandbox that has no network interface, many of them over one pair of pipes, between process 1
// and the daemon. Both ends run this code, and neither trusts the other: what the peer says is checked, and what is kept of it has bounds.
//
// The host's end keeps at most Streams windows of the peer's streams and as many of its own, Spare bytes of windows that grew, and a batch of
// what is to be sent, whatever the peer does. No frame has a deadline: a sandbox may be paused in the middle of one for as long as its owner
// likes. One that stalls holds its own session and no other.
package door

import (
	"errors"
	"fmt"
)

// Kind says what a stream is asked for.
type Kind byte

// What a sandbox asks the daemon for, and the daemon a sandbox.
const (
	// Connect asks for a connection to a name and port of the outside. It is accepted once that is connected.
	Connect Kind = 1 + iota
	// Proxy is a connection of a client that speaks to the proxy. It is accepted at once.
	Proxy
	// Resolve asks whether a name may be reached. The words of its Accept are the ports by which it may. It is closed then.
	Resolve
	// Table tells a sandbox all names that it may reach by name: the words are a name, its ports joined by commas, a name, and so on. It replaces
	// the table before, and is closed then.
	Table
	// Dial asks for a connection to a port of the sandbox's own. It is accepted once that is connected.
	Dial
)

// Ask is what a stream is for.
type Ask struct {
	Kind  Kind
	Name  string
	Port  int
	Words []string
}

// Reason is the kind of a Refusal.
type Reason string

// The kinds of refusals.
const (
	Denied   Reason = "denied"    // the policy does not allow it
	NotFound Reason = "not found" // there is no such name
	Failed   Reason = "failed"    // it could not be connected
	Busy     Reason = "busy"      // there is too much at once
	Away     Reason = "away"      // who would do it is not there
)

// Refusal is why a stream was not accepted.
type Refusal struct {
	Reason Reason
	Text   string // one sentence, of the peer's
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Reason, r.Text) }

// Options are the bounds of a session. What is 0 has its default.
type Options struct {
	Streams int // most that the peer may have open at once, and most of our own
	Window  int // bytes under way to us in one stream before it proves to be busy
	Spare   int // bytes by which the windows of busy streams may grow, all together
	Asked   int // bytes of one message of the peer's: of what it asks for, or of its answer
}

// What ends streams.
var (
	ErrLost  = errors.New("the session over the door has ended")
	ErrReset = errors.New("the peer has reset the connection")
)
