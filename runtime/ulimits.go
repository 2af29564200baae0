package runtime

import (
	"maps"
	"math"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Ulimit is a bound of setrlimit(2): a process may raise its soft one up to the hard one. Unlimited is none.
type Ulimit struct {
	Soft, Hard uint64
}

// Unlimited is a Ulimit's value for no bound.
const Unlimited = math.MaxUint64

// openFiles is as many as gVisor lets a process have open. Few programs raise their own soft limit, and some close all files up to
// it, so that is in between.
var openFiles = Ulimit{Soft: 1 << 16, Hard: 1 << 20}

// setUlimits gives a spec's processes the limits of the names that setrlimit(2) has, in lower case.
func setUlimits(s *specs.Spec, ulimits map[string]Ulimit) {
	s.Process.Rlimits = nil
	for _, name := range slices.Sorted(maps.Keys(ulimits)) {
		u := ulimits[name]
		s.Process.Rlimits = append(s.Process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(name), Soft: u.Soft, Hard: u.Hard})
	}
}
