package repotest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWalkIsThere has every step of the walk through the code name a file, and functions that are in it.
func TestWalkIsThere(t *testing.T) {
	_, walk, _ := strings.Cut(read(t, "docs/architecture.md"), "\n## A walk through the code\n")
	walk, _, _ = strings.Cut(walk, "\n## ")
	steps := regexp.MustCompile("(?m)^\\| `([a-z/_-]+\\.go)` \\| (.+?) \\|").FindAllStringSubmatch(walk, -1)
	if paths := strings.Count(walk, "\n### "); paths != 3 || len(steps) < 3*paths {
		t.Fatalf("the walk has %d paths and %d steps in all, want 3 of some steps each", paths, len(steps))
	}
	for _, step := range steps {
		code, err := os.ReadFile(filepath.Join("..", "..", step[1]))
		if err != nil {
			t.Errorf("the walk comes by %s: %v", step[1], err)
			continue
		}
		for _, name := range found(t, "`(\\w+)`", step[2]) {
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + name + `[\[(]`).Match(code) {
				t.Errorf("the walk comes by %s in %s, which has no such function", name, step[1])
			}
		}
	}
}
