package help

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestDress has each example name the command that it is of, and each command of a group one group.
func TestDress(t *testing.T) {
	for path, example := range examples {
		if path == "sandpool" {
			continue
		}
		if !strings.Contains(example, "sandpool "+path+" ") && !strings.HasSuffix(example, "sandpool "+path) && !strings.Contains(example, "sandpool "+path+"\n") {
			t.Errorf("%s: its example is %q", path, example)
		}
	}
	root := &cobra.Command{Use: "sandpool"}
	for _, g := range groups {
		for name := range strings.FieldsSeq(g.commands) {
			root.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
		}
	}
	Dress(root, "Exit codes:\n", 0)
	for _, cmd := range root.Commands() {
		if cmd.GroupID == "" && cmd.Name() != topic {
			t.Errorf("%s is in no group", cmd.Name())
		}
	}
}

func TestWrap(t *testing.T) {
	const text = "one two three\n  --flag   what it does\n  averylongwordthatstays\n\nend"
	const want = "one two\nthree\n  --flag\n  what it\n  does\n  averylongwordthatstays\n\nend"
	if got := wrap(text, 10); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	const flags = "  -f, --flag name   what it does with the name\n"
	if got, want := wrap(flags, 42), "  -f, --flag name   what it does with the\n                    name\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := wrap(text, 0); got != text {
		t.Errorf("without a width: %q", got)
	}
}
