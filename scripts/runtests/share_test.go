package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is a module whose tests of the package daemon/daemontest wait for each other: the last to begin lets all others end. One fails, and one
// ends its process.
var module = map[string]string{
	"go.mod": "module m\n\ngo 1.24\n",
	"daemon/daemontest/a_test.go": `package a

import (
	"fmt"
	"os"
	"testing"
)

func meet(t *testing.T, me, other string) {
	fmt.Println("words of", me)
	if err := os.WriteFile(os.Getenv("MEET")+"/"+me, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for os.Getenv("MEET") != "" {
		if _, err := os.Stat(os.Getenv("MEET") + "/" + other); err == nil {
			break
		}
	}
}

func TestOne(t *testing.T)   { meet(t, "one", "two") }
func TestTwo(t *testing.T)   { meet(t, "two", "one"); t.Run("PASS: within", func(*testing.T) {}) }
func FuzzSeed(f *testing.F)  { f.Add(1); f.Fuzz(func(*testing.T, int) {}) }
func TestFails(t *testing.T) { fmt.Print("no end of line"); t.Error("why") }
func TestEnds(*testing.T)    { fmt.Println("last words"); os.Exit(3) }
func Example()               { fmt.Println("said") // Output: said
}
`,
}

// TestShare runs the tests of a package that is shared out: they run side by side, each once, and what one of them writes is told of it.
func TestShare(t *testing.T) {
	dir := t.TempDir()
	for name, text := range module {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-json", "-count=1", fmt.Sprintf("-exec='%s' %s", program, shareFlag), "./...")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "MEET="+t.TempDir(), "GOWORK=off")
	events, _ := cmd.Output() // two of the tests fail
	var out strings.Builder
	sum := newSummary(&out)
	if err := sum.read(strings.NewReader(string(events))); err != nil {
		t.Fatal(err)
	}
	if sum.close(false, 0); sum.good() || sum.passed != 6 || sum.failed != 1 {
		t.Errorf("%d tests passed and %d failed, want 6 and 1", sum.passed, sum.failed)
	}
	for _, want := range []string{"no end of line", "why", "last words", "exit status 3", "TestEnds did not end"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(out.String(), "words of") {
		t.Error("the output of a test that passed is shown")
	}
	if t.Failed() {
		t.Logf("%s\n%s", events, out.String())
	}
}

func TestDeal(t *testing.T) {
	for n, want := range map[int]string{0: "[[]]", 1: "[[0]]", 3: "[[0] [1] [2]]", 7: "[[0 3 6] [1 4] [2 5]]"} {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint(i))
		}
		if got := fmt.Sprint(deal(names, 3)); got != want {
			t.Errorf("%d names: %s, want %s", n, got, want)
		}
	}
	if !slices.Equal(deal(nil, 3)[0], []string{}) || selects([]string{"-test.v", "-test.short"}) || !selects([]string{"-test.v", "-test.run=X"}) {
		t.Error("what is to be run is not seen")
	}
}
