package configs

import (
	"maps"
	"slices"
	"strconv"

	"sandpool/runtime/ulimit"
)

// Ulimit is a bound of setrlimit(2) for each process.
type Ulimit = ulimit.Limit

// Bounds for what a sandbox cannot be started without, and for what gVisor has.
const (
	minFiles = 64
	maxFiles = 1 << 20
	minStack = 64 << 10
)

// takeUlimit reads a limit as Docker has it: one number, or the soft and the hard one.
func takeUlimit(dst *Ulimit, value any) string {
	if n, ok := value.(int64); ok {
		value = strconv.FormatInt(n, 10)
	}
	var text string
	if wrong := take(&text, value, ulimit.Form); wrong != "" {
		return wrong
	}
	limit, ok := ulimit.Parse(text)
	if !ok {
		return strconv.Quote(text) + ": want " + ulimit.Form
	}
	*dst = limit
	return ""
}

func (t Template) checkUlimits(key string, found *faults) {
	for _, name := range slices.Sorted(maps.Keys(t.Ulimits)) {
		at, u := join(key, name), t.Ulimits[name]
		if _, known := ulimit.Resource(name); !known {
			found.unknown(at, ulimit.Names())
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
			found.ulimit(at, u, minStack, ulimit.Unlimited)
		case "nproc":
			most := uint64(ulimit.Unlimited)
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
	if most == ulimit.Unlimited {
		f.add(key, "want at least %d", least)
	} else {
		f.add(key, "want %d to %d", least, most)
	}
}
