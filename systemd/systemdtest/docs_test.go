package systemdtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// TestRunbook brings the daemon into the state of each alert, and pastes what docs/runbook.md says of it.
func TestRunbook(t *testing.T) {
	c := start(t, "")
	t.Cleanup(func() {
		if err := configure(2); err != nil {
			t.Error(err)
		}
	})
	await(t, "the pool is full", func() bool { return pool(t, c).Available == 2 })
	docs, err := os.ReadFile(filepath.Join(checkout, "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	entries := regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(docs), -1)
	states := alertStates(c)
	if len(entries) != len(states) {
		t.Errorf("the runbook has %d entries, this test %d", len(entries), len(states))
	}
	for _, entry := range entries {
		t.Run(entry[1], func(t *testing.T) {
			state, ok := states[entry[1]]
			if !ok {
				t.Fatal("this test has no state for it")
			}
			_, text, _ := strings.Cut(string(docs), "\n## "+entry[1]+"\n")
			text, _, _ = strings.Cut(text, "\n## ")
			before, after, _ := strings.Cut(text, "\nCure: ")
			confirm, cure := commands(before), commands(after)
			if len(confirm) == 0 || len(cure) == 0 {
				t.Fatalf("it has the commands %q and %q", confirm, cure)
			}
			id := state.begin(t)
			if out, err := paste(t.Context(), confirm, id); err != nil != state.away || !strings.Contains(out, state.shows) || !strings.Contains(out, id) {
				t.Errorf("%q: %v, want %q and %q in\n%s", confirm, err, state.shows, id, out)
			}
			if state.edit != "" {
				if err := put(confFile, state.edit); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := paste(t.Context(), cure, id); err != nil {
				t.Fatalf("%q: %v: %s", cure, err, out)
			}
			await(t, "it is cured", func() bool { return state.cured(t) })
		})
	}
	if left, err := c.List(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("claims that are left: %+v, %v", left, err)
	}
}

// commands are the lines of code in a part of an entry.
func commands(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			lines = append(lines, strings.TrimSpace(code))
		}
	}
	return lines
}

func pool(t *testing.T, c *client.Client) wire.Pool {
	t.Helper()
	pools, err := c.Pools(t.Context())
	if err != nil || len(pools) != 1 {
		t.Fatalf("%+v, %v", pools, err)
	}
	return pools[0]
}
