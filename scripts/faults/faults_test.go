package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

// TestEveryStepCrashes finds steps in the code at which no crash is tried.
func TestEveryStepCrashes(t *testing.T) {
	told := regexp.MustCompile(`\b(?:step|Step|told|setLease)\((?:.*, )?"([^"]+)"\)`)
	stages := func(code string) string { // one call tells of both
		const call = `next, "stage "+string(to)+" labelled")`
		return strings.ReplaceAll(code, call, `step("stage warned labelled") step("stage grace labelled")`)
	}
	found := map[string]bool{}
	for _, folder := range []string{"pool", "daemon/files", "runtime", "runtime/checkpoint", "runtime/command", "runtime/pause", "runtime/resource", "runtime/supervisor"} {
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(folder), "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in %s: %v", folder, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range told.FindAllStringSubmatch(stages(string(code)), -1) {
				found[match[1]] = true
			}
		}
	}
	for step := range found {
		if !slices.Contains(steps, step) {
			t.Errorf("no crash is tried at %q", step)
		}
	}
	for _, step := range steps {
		if !found[step] {
			t.Errorf("the code has no step %q", step)
		}
	}
}

func TestPercentile(t *testing.T) {
	times := []time.Duration{4, 1, 3, 2}
	for p, want := range map[int]time.Duration{1: 1, 50: 2, 75: 3, 99: 4, 100: 4} {
		if got := percentile(times, p); got != want {
			t.Errorf("p%d is %d, want %d", p, got, want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}

func TestBook(t *testing.T) {
	b := newBook()
	b.ask("r-1")
	first, other := b.grant(wire.Claim{ID: "c-1", Sandbox: "sb-1", RequestID: "r-1"})
	if other != "" {
		t.Errorf("the first grant collides with %q", other)
	}
	if again, other := b.grant(first.claim); again != first || other != "" {
		t.Errorf("the same claim, answered twice, collides with %q", other)
	}
	if _, other := b.grant(wire.Claim{ID: "c-2", Sandbox: "sb-1"}); other != "c-1" {
		t.Errorf("the second grant of a sandbox collides with %q, want c-1", other)
	}
	if _, answered, asked := b.find(wire.Claim{ID: "c-3", RequestID: "r-1"}); answered || !asked {
		t.Error("a claim that was asked for and not answered is not known as that")
	}
	if _, _, asked := b.find(wire.Claim{ID: "c-4", RequestID: "r-9"}); asked {
		t.Error("a claim that nobody asked for is known")
	}
	b.set(func() { first.ending = true })
	if held := b.held(); len(held) != 1 || held[0].claim.ID != "c-2" {
		t.Errorf("held are %+v", held)
	}
}

func TestTable(t *testing.T) {
	good := &outcome{fault: "a", injected: 2, recovery: []time.Duration{time.Second, 3 * time.Second}, remark: "well"}
	bad := &outcome{fault: "b"}
	bad.leak("this is what the test wants")
	var out strings.Builder
	if err := printTable(&out, []*outcome{good, bad}); err != nil {
		t.Fatal(err)
	}
	cells := regexp.MustCompile(` *\| *`).ReplaceAllString(out.String(), "|")
	for _, want := range []string{"|a|2|0|0|0|1.0 s|3.0 s|", "|b|0|0|1|0|", "a: well"} {
		if !strings.Contains(cells, want) {
			t.Errorf("%q lacks %q", cells, want)
		}
	}
	if !good.good() || bad.good() {
		t.Error("the wrong one is good")
	}
}
