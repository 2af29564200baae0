package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Words puts texts one behind the other, each with its length before it. They may hold any bytes.
func Words(words []string) []byte {
	size := 0
	for _, w := range words {
		size += 4 + len(w)
	}
	message := make([]byte, 0, size)
	for _, w := range words {
		message = binary.BigEndian.AppendUint32(message, uint32(len(w))) //nolint:gosec // what does not fit is too large for a frame
		message = append(message, w...)
	}
	return message
}

var errWords = errors.New("a message is cut off")

// SplitWords takes a message of Words apart.
func SplitWords(message []byte) ([]string, error) {
	var words []string
	for len(message) > 0 {
		if len(message) < 4 {
			return nil, errWords
		}
		length := binary.BigEndian.Uint32(message)
		message = message[4:]
		if uint64(length) > uint64(len(message)) {
			return nil, errWords
		}
		words = append(words, string(message[:length]))
		message = message[length:]
	}
	return words, nil
}

// Command is a process to start. The user is a name or a number of the sandbox, with a group behind a colon if one is wanted; empty means
// that of process 1.
type Command struct {
	Args    []string // the first is looked for by PATH of Env
	Env     []string // all of it
	Folder  string
	User    string
	TTY     bool
	Input   bool // it may be given input; else it has none
	Rows    uint16
	Cols    uint16
	Follow  bool          // the Reply is followed by the answers of a Follow from position 0, with which the process ends and is forgotten; it writes no more than is kept before
	Timeout time.Duration // after which its session is killed; 0: never
	Limits  []string      // NAME=SOFT:HARD, as package ulimit has them
}

// Start returns the kind and the words of the frame that starts it.
func (c Command) Start() (Kind, []string) {
	if len(c.Limits) == 0 {
		return Start, c.Words()
	}
	return StartLimited, append([]string{string(Words(c.Limits))}, c.Words()...)
}

// StartOf reads the words of a frame that starts a command.
func StartOf(kind Kind, words []string) (Command, error) {
	if kind != StartLimited {
		return CommandOf(words)
	}
	if len(words) == 0 {
		return Command{}, errWords
	}
	limits, err := SplitWords([]byte(words[0]))
	if err != nil {
		return Command{}, err
	}
	c, err := CommandOf(words[1:])
	c.Limits = limits
	return c, err
}

// Words returns the words of a Start, which has no limits.
func (c Command) Words() []string {
	words := []string{c.Folder, c.User, flag(c.TTY), flag(c.Input), flag(c.Follow), number(c.Rows), number(c.Cols), number(c.Timeout), number(len(c.Args))}
	return append(append(words, c.Args...), c.Env...)
}

// CommandOf reads the words of a Start.
func CommandOf(words []string) (Command, error) {
	r := reader{words: words}
	c := Command{
		Folder: r.text(), User: r.text(), TTY: r.flag(), Input: r.flag(), Follow: r.flag(), Rows: uint16(r.number(1<<16 - 1)), Cols: uint16(r.number(1<<16 - 1)), //nolint:gosec // bounded
		Timeout: time.Duration(r.number(1<<62 - 1)),
	}
	c.Args = r.list(int(r.number(int64(len(words)))))
	c.Env = r.words
	if r.err == nil && len(c.Args) == 0 {
		r.err = errWords
	}
	return c, r.err
}

// Process is a process of a sandbox, as process 1 sees it.
type Process struct {
	PID        int
	Supervised bool // process 1 started it for the daemon, and keeps what it writes
	TTY        bool
	Input      bool // it can be given input
	Ended      bool
	Code       int  // once it has ended: as shells have it
	TimedOut   bool // it was killed at the end of its time
	Started    time.Time
	Stopped    time.Time     // once it has ended
	First      int64         // the position of the oldest output that is kept
	Next       int64         // the position of what it writes next
	State      string        // of the kernel: one letter
	User       string        // a name or a number
	CPU        time.Duration // that it has used
	Memory     int64         // resident, in bytes
	Args       []string
}

// Words returns the words of a Process.
func (p Process) Words() []string {
	words := []string{
		number(p.PID), flag(p.Supervised), flag(p.TTY), flag(p.Input), flag(p.Ended), number(p.Code), flag(p.TimedOut), moment(p.Started), moment(p.Stopped),
		number(p.First), number(p.Next), p.State, p.User, number(p.CPU), number(p.Memory),
	}
	return append(words, p.Args...)
}

// ProcessOf reads the words of a Process.
func ProcessOf(words []string) (Process, error) {
	const most = 1<<62 - 1
	r := reader{words: words}
	p := Process{
		PID: int(r.number(1<<31 - 1)), Supervised: r.flag(), TTY: r.flag(), Input: r.flag(), Ended: r.flag(), Code: int(r.number(1 << 16)), TimedOut: r.flag(),
		Started: r.moment(), Stopped: r.moment(), First: r.number(most), Next: r.number(most),
		State: r.text(), User: r.text(), CPU: time.Duration(r.number(most)), Memory: r.number(most),
	}
	p.Args = r.words
	if r.err == nil && (p.PID == 0 || p.First > p.Next) {
		r.err = errors.New("a process makes no sense")
	}
	return p, r.err
}

func flag(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

func number[N ~int | ~int64 | ~uint16](n N) string { return strconv.FormatInt(int64(n), 10) }

func moment(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return number(t.UnixNano())
}

// reader takes words one after the other. After an error all that it returns is empty.
type reader struct {
	words []string
	err   error
}

func (r *reader) text() string {
	if r.err == nil && len(r.words) == 0 {
		r.err = errWords
	}
	if r.err != nil {
		return ""
	}
	word := r.words[0]
	r.words = r.words[1:]
	return word
}

func (r *reader) flag() bool { return r.number(1) == 1 }

// number reads one from 0 to most.
func (r *reader) number(most int64) int64 {
	word := r.text()
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || n < 0 || n > most {
		r.err = fmt.Errorf("%q: want a number from 0 to %d", word[:min(len(word), 20)], most)
		return 0
	}
	return n
}

func (r *reader) moment() time.Time {
	nanos := r.number(1<<62 - 1)
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

func (r *reader) list(count int) []string {
	if r.err == nil && count > len(r.words) {
		r.err = errWords
	}
	if r.err != nil {
		return nil
	}
	list := r.words[:count:count]
	r.words = r.words[count:]
	return list
}

// Reason is the kind of a Failure.
type Reason string

// The kinds of failures.
const (
	NotFound Reason = "not found" // there is no such process
	Refused  Reason = "refused"   // what was asked for makes no sense, or may not be done
	NoRoom   Reason = "no room"   // there is too much at once
	Broken   Reason = "failed"    // all else
)

// Failure is why something was not done. Code is that of a command that cannot be run: 126 or 127, as shells have it.
type Failure struct {
	Reason Reason
	Code   int
	Text   string
}

func (f *Failure) Error() string { return f.Text }

// Encode returns the payload of a Failed.
func (f *Failure) Encode() []byte {
	return Words([]string{string(f.Reason), number(f.Code), f.Text[:min(len(f.Text), MaxData/2)]})
}

// DecodeFailure reads the payload of a Failed.
func DecodeFailure(payload []byte) (*Failure, error) {
	words, err := SplitWords(payload)
	if err != nil {
		return nil, err
	}
	r := reader{words: words}
	f := &Failure{Reason: Reason(r.text()), Code: int(r.number(255)), Text: r.text()}
	return f, r.err
}

// Asked reads words that are numbers, as of Get, Signal, Resize and Follow.
func Asked(payload []byte, count int) ([]int64, error) {
	words, err := SplitWords(payload)
	if err != nil {
		return nil, err
	}
	if len(words) != count {
		return nil, errWords
	}
	r := reader{words: words}
	var all []int64
	for range count {
		all = append(all, r.number(1<<62-1))
	}
	return all, r.err
}

// Numbers are the words that Asked reads.
func Numbers(numbers ...int64) []byte {
	var words []string
	for _, n := range numbers {
		words = append(words, number(n))
	}
	return Words(words)
}
