package template

import (
	"maps"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestSetUlimits(t *testing.T) {
	for name, test := range map[string]struct {
		limits Limits
		want   map[string]Ulimit
	}{
		"default":   {Limits{}, map[string]Ulimit{"RLIMIT_NOFILE": {65536, 1048576}}},
		"processes": {Limits{PIDs: 40}, map[string]Ulimit{"RLIMIT_NOFILE": {65536, 1048576}, "RLIMIT_NPROC": {40, 40}}},
		"own": {
			Limits{PIDs: 40, Ulimits: map[string]Ulimit{"nofile": {1024, 4096}, "nproc": {20, 30}, "core": {0, Unlimited}}},
			map[string]Ulimit{"RLIMIT_NOFILE": {1024, 4096}, "RLIMIT_NPROC": {20, 30}, "RLIMIT_CORE": {0, Unlimited}},
		},
	} {
		s := &specs.Spec{Process: &specs.Process{Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 1024}}}, Linux: &specs.Linux{}}
		test.limits.set(s)
		got := map[string]Ulimit{}
		for _, r := range s.Process.Rlimits {
			got[r.Type] = Ulimit{r.Soft, r.Hard}
		}
		if !maps.Equal(got, test.want) || len(got) != len(s.Process.Rlimits) {
			t.Errorf("%s: %v, want %v", name, s.Process.Rlimits, test.want)
		}
	}
}
