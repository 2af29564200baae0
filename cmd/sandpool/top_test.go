package main

import (
	"encoding/json"
	"strings"
	"testing"

	"sandpool/cmd/sandpool/top"
)

func TestTopOnce(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	code, out, errOut := f.sandpool("top") // its output is no terminal
	for _, want := range []string{"sandpool top  v1  systrap  up 2d", "ready 1  in use 0", "local:default      1 ", id + "       1h ", "claimed  " + id + "  it was claimed\n"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, %s: no %q in\n%s", code, errOut, want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("styles in plain text:\n%q", out)
	}
	code, out, errOut = f.sandpool("top", "--once", "--json")
	var got top.Look
	if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil || len(got.Pools) != 1 || len(got.Claims) != 1 || len(got.Events) != 1 || got.Info.PID != 7 {
		t.Errorf("exit %d, %s, %v:\n%s", code, errOut, err, out)
	}
}
