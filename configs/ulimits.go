package configs

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Ulimit is a bound of setrlimit(2) for each process: it may raise its soft one up to the hard one. Unlimited is none.
type Ulimit struct {
	Soft, Hard uint64
}

// Unlimited is a Ulimit's value for no bound.
const Unlimited = math.MaxUint64

// ulimitNames are Docker's, which are those of setrlimit(2) without RLIMIT_.
var ulimitNames = []string{
	"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
}

// Bounds for what a sandbox cannot be started without, and for what gVisor has.
const (
	minFiles = 64
	maxFiles = 1 << 20
	minStack = 64 << 10
)

const ulimitForm = `a whole number from 0, -1 for unlimited, or two of them as "SOFT:HARD"`

// takeUlimit reads a limit as Docker has it: one number, or the soft and the hard one.
func takeUlimit(dst *Ulimit, value any) string {
	if n, ok := value.(int64); ok {
		value = strconv.FormatInt(n, 10)
	}
	var text string
	if wrong := take(&text, value, ulimitForm); wrong != "" {
		return wrong
	}
	soft, hard, both := strings.Cut(text, ":")
	if !both {
		hard = soft
	}
	var softOK, hardOK bool
	dst.Soft, softOK = ulimitValue(soft)
	dst.Hard, hardOK = ulimitValue(hard)
	if !softOK || !hardOK {
		return strconv.Quote(text) + ": want " + ulimitForm
	}
	return ""
}

func ulimitValue(text string) (n uint64, ok bool) {
	if text == "-1" || text == "unlimited" {
		return Unlimited, true
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return n, err == nil
}

func (t Template) checkUlimits(key string, found *faults) {
	for _, name := range slices.Sorted(maps.Keys(t.Ulimits)) {
		at, u := join(key, name), t.Ulimits[name]
		if !slices.Contains(ulimitNames, name) {
			found.unknown(at, ulimitNames)
			continue
		}
		if u.Soft > u.Hard {
			found.add(at, "the soft limit is above the hard one")
			continue
		}
		switch name {
		case "nofile":
			found.ulimit(at, u, minFiles, maxFiles)
		case "stack":
			found.ulimit(at, u, minStack, Unlimited)
		case "nproc":
			most := uint64(Unlimited)
			if t.PIDs > 0 {
				most = uint64(t.PIDs)
			}
			found.ulimit(at, u, minPIDs, most)
		}
	}
}

// ulimit checks both limits of one kind.
func (f *faults) ulimit(key string, u Ulimit, least, most uint64) {
	if u.Soft >= least && u.Hard <= most {
		return
	}
	if most == Unlimited {
		f.add(key, "want at least %d", least)
	} else {
		f.add(key, "want %d to %d", least, most)
	}
}
