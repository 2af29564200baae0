package main

import (
	"strings"
	"testing"

	"sandpool/daemon/wire"
)

func TestProgress(t *testing.T) {
	var out strings.Builder
	line := newProgress(&out)
	for _, pool := range []wire.Pool{
		{Name: "local:default", Target: 4, Warming: 2},
		{Name: "local:default", Target: 4, Warming: 2},
		{Name: "local:default", Target: 4, Available: 3, Warming: 1},
		{Name: "local:default", Target: 4, Available: 5},
	} {
		line.show(pool)
	}
	line.end()
	want := `  pool local:default [....] 0 of 4 ready, 2 starting
  pool local:default [###.] 3 of 4 ready, 1 starting
  pool local:default [####] 5 of 4 ready, 0 starting
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestQuote(t *testing.T) {
	for want, args := range map[string][]string{
		"sandpool exec a -- ls": {"sandpool", "exec", "a", "--", "ls"},
		"sh -c 'a; b' ''":       {"sh", "-c", "a; b", ""},
		`echo 'it'\''s' '$x'`:   {"echo", "it's", "$x"},
	} {
		if got := quote(args); got != want {
			t.Errorf("quote(%q) = %s, want %s", args, got, want)
		}
	}
}
