// Package ulimit reads bounds of setrlimit(2) as Docker writes them. It is in process 1 of every sandbox, and imports little.
package ulimit

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limit is a bound for each process: it may raise its soft one up to the hard one.
type Limit struct {
	Soft, Hard uint64
}

// Unlimited is a Limit's value for no bound.
const Unlimited = math.MaxUint64

// Form is what Parse wants.
const Form = `a whole number from 0, -1 for unlimited, or two of them as "SOFT:HARD"`

// resources are those of setrlimit(2) that gVisor has, by their names without RLIMIT_, which are Docker's.
var resources = map[string]int{
	"core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA, "fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS,
	"memlock": unix.RLIMIT_MEMLOCK, "msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC,
	"rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO, "rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// Names are those that limits have, in order.
func Names() []string { return slices.Sorted(maps.Keys(resources)) }

// Resource is the number of a name for setrlimit(2).
func Resource(name string) (number int, known bool) {
	number, known = resources[name]
	return number, known
}

// Parse reads a limit; false if it is none. Whether the soft bound is above the hard one is for the caller to see.
func Parse(text string) (l Limit, ok bool) {
	soft, hard, both := strings.Cut(text, ":")
	if !both {
		hard = soft
	}
	var softOK, hardOK bool
	l.Soft, softOK = parse(soft)
	l.Hard, hardOK = parse(hard)
	return l, softOK && hardOK
}

func parse(text string) (n uint64, ok bool) {
	if text == "-1" || text == "unlimited" {
		return Unlimited, true
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return n, err == nil
}

// Named reads NAME=LIMIT, and says what is wrong with it.
func Named(text string) (number int, l Limit, err error) {
	name, value, _ := strings.Cut(text, "=")
	number, known := Resource(name)
	l, ok := Parse(value)
	switch {
	case !known:
		err = fmt.Errorf("%.64q: want one of %s", name, strings.Join(Names(), ", "))
	case !ok:
		err = fmt.Errorf("%s: %.64q: want %s", name, value, Form)
	case l.Soft > l.Hard:
		err = fmt.Errorf("%s: %.64q: the soft limit is above the hard one", name, value)
	}
	return number, l, err
}
