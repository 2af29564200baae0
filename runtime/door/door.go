// Package door carries connections in and out of a sandbox that has no network interface, many of them over one pair of pipes, between process 1
// and the daemon. Both ends run this code, and neither trusts the other: what the peer says is checked, and what is kept of it has bounds.
//
// An end keeps at most Streams × (Window + a block of 64 KiB) of what the peer sends in streams that the peer opened, as much in those that it
// opened itself, Spare bytes more, and a MiB. No frame has a deadline: a sandbox may be paused in the middle of one for as long as its
// owner likes. A peer that stalls holds its own session and no other, and nobody who has a deadline, closes or resets waits for it.
package door

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"sandpool/runtime/supervisor/protocol"
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

func (a Ask) encode() []byte {
	return protocol.Words(append([]string{strconv.Itoa(int(a.Kind)), strconv.Itoa(a.Port), a.Name}, a.Words...))
}

func decodeAsk(message []byte) (Ask, error) {
	words, err := protocol.SplitWords(message)
	if err != nil {
		return Ask{}, err
	}
	if len(words) < 3 {
		return Ask{}, errors.New("it is cut off")
	}
	kind, err := strconv.ParseUint(words[0], 10, 8)
	if err != nil {
		return Ask{}, err
	}
	port, err := strconv.ParseUint(words[1], 10, 16)
	return Ask{Kind(kind), words[2], int(port), words[3:]}, err
}

// Reason is the kind of a Refusal.
type Reason string

// The kinds of refusals.
const (
	Denied   Reason = "denied"    // the policy does not allow it
	NotFound Reason = "not found" // there is no such name
	Failed   Reason = "failed"    // it could not be connected, and all else
	Busy     Reason = "busy"      // there is too much at once
	Away     Reason = "away"      // who would do it is not there
)

// Refusal is why a stream was not accepted.
type Refusal struct {
	Reason Reason
	Text   string // one sentence, which may be the peer's
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Reason, r.Text) }

func (r Refusal) encode() []byte {
	return protocol.Words([]string{string(r.Reason), r.Text[:min(len(r.Text), MaxAsk/2)]})
}

func decodeRefusal(message []byte) (*Refusal, error) {
	words, err := protocol.SplitWords(message)
	if err != nil {
		return nil, err
	}
	if len(words) != 2 {
		return nil, errors.New("a refusal that makes no sense")
	}
	r := &Refusal{Reason(words[0]), words[1]}
	if !slices.Contains([]Reason{Denied, NotFound, Failed, Busy, Away}, r.Reason) {
		r.Reason = Failed
	}
	return r, nil
}

// Sizes in bytes.
const (
	// MaxAsk is how large what is asked for or answered may be.
	MaxAsk = 4 << 10
	// MaxTable is how large a Table may be.
	MaxTable = 1 << 20
)

// Options are the bounds of a session. What is 0 has its default.
type Options struct {
	Streams int  // most that the peer may have open at once, and most of our own
	Window  int  // bytes of one stream that may be under way to us before it has shown that it is busy
	Spare   int  // bytes by which the windows of busy streams may grow, all together
	Tables  bool // whether the peer may send a Table
}

// The defaults of Options.
const (
	DefaultStreams = 256
	DefaultWindow  = 64 << 10
	DefaultSpare   = 8 << 20
)

// maxWindow is the most that may be under way to us in one stream, in bytes, and maxCredit to the peer.
const (
	maxWindow = 1 << 20
	maxCredit = 1 << 30
)

// What ends streams.
var (
	ErrLost  = errors.New("the session over the door has ended")
	ErrReset = errors.New("the peer has reset the connection")
	ErrLeft  = errors.New("the peer reads no more of the connection")
)
