package template

import (
	"maps"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/ulimit"
)

func TestSetUlimits(t *testing.T) {
	for name, test := range map[string]struct {
		limits Limits
		want   map[string]ulimit.Limit
	}{
		"default":   {Limits{}, map[string]ulimit.Limit{"RLIMIT_NOFILE": {Soft: 65536, Hard: 1048576}}},
		"processes": {Limits{PIDs: 40}, map[string]ulimit.Limit{"RLIMIT_NOFILE": {Soft: 65536, Hard: 1048576}, "RLIMIT_NPROC": {Soft: 40, Hard: 40}}},
		"own": {
			Limits{PIDs: 40, Ulimits: map[string]ulimit.Limit{"nofile": {Soft: 1024, Hard: 4096}, "nproc": {Soft: 20, Hard: 30}, "core": {Soft: 0, Hard: ulimit.Unlimited}}},
			map[string]ulimit.Limit{"RLIMIT_NOFILE": {Soft: 1024, Hard: 4096}, "RLIMIT_NPROC": {Soft: 20, Hard: 30}, "RLIMIT_CORE": {Soft: 0, Hard: ulimit.Unlimited}},
		},
	} {
		s := &specs.Spec{Process: &specs.Process{Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 1024}}}, Linux: &specs.Linux{}}
		test.limits.set(s)
		got := map[string]ulimit.Limit{}
		for _, r := range s.Process.Rlimits {
			got[r.Type] = ulimit.Limit{Soft: r.Soft, Hard: r.Hard}
		}
		if !maps.Equal(got, test.want) || len(got) != len(s.Process.Rlimits) {
			t.Errorf("%s: %v, want %v", name, s.Process.Rlimits, test.want)
		}
	}
}
