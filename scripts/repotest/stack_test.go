package repotest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// parts are those of scripts/stack.sh that are built or fetched, and not installed.
var parts = []string{"containerd", "gvisor", "lint", "nfpm", "buildkit", "busybox", "prometheus", "python"}

// stamps returns by part what a text of scripts/stack.sh says of how it is made.
func stamps(t *testing.T, script string) map[string]string {
	t.Helper()
	functions, _, found := strings.Cut(script, "\nmkdir -p \"$stack\"")
	if !found {
		t.Fatal("scripts/stack.sh has no end of its functions")
	}
	loop := fmt.Sprintf("\nfor part in %s; do printf '%%s %%s\\n' $part \"$(stamp $part)\"; done", strings.Join(parts, " "))
	all := map[string]string{}
	for line := range strings.Lines(run(t, "bash", "-c", functions+loop, "scripts/stack.sh")) {
		part, stamp, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[part] = stamp
	}
	return all
}

// TestStackMakesOnlyWhatChanged edits the recipes of parts: those parts, and no others, are to be made anew.
func TestStackMakesOnlyWhatChanged(t *testing.T) {
	script := read(t, "scripts/stack.sh")
	before := stamps(t, script)
	for edit, want := range map[string][]string{
		"# check_host: whether|# whether":                   nil,
		"new enough.|new.":                                  nil,
		"download busybox-static|download busybox-static x": {"busybox"},
		"download prometheus|download prometheus x":         {"prometheus"},
		"rm -rf root/usr/share|rm -rf root/usr":             {"python"},
		"no_cri,no_tracing|no_tracing":                      {"containerd"},
		"./runsc -ldflags|./runsc -x -ldflags":              {"gvisor"},
		"build -C|build -x -C":                              {"containerd", "gvisor", "lint", "nfpm", "buildkit"},
	} {
		from, to, _ := strings.Cut(edit, "|")
		if strings.Count(script, from) != 1 {
			t.Errorf("scripts/stack.sh has %q %d times", from, strings.Count(script, from))
			continue
		}
		after := stamps(t, strings.Replace(script, from, to, 1))
		var changed []string
		for _, part := range parts {
			if after[part] == "" || after[part] != before[part] {
				changed = append(changed, part)
			}
		}
		if !slices.Equal(changed, want) {
			t.Errorf("%q makes %v anew, want %v", edit, changed, want)
		}
	}
}

// TestStackRests runs the tests of what the stack's gVisor has beside gVisor's own, which is in a module of its own.
func TestStackRests(t *testing.T) {
	run(t, "go", "-C", "scripts/stack/gvisor", "test", "./rest", "./shim")
}
