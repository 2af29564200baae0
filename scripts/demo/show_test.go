package main

import (
	"os"
	"strings"
	"testing"

	"sandpool/scripts/doctest"
)

// TestShow runs the demo, and compares what it prints with the README.
func TestShow(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, want, ok := strings.Cut(string(readme), "```console\n$ make demo\n")
	want, _, closed := strings.Cut(want, "```\n")
	if !ok || !closed {
		t.Fatal("the README does not show the demo")
	}
	var out strings.Builder
	d, err := newDemo(host, &out)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.startDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := d.show(t.Context()); err != nil {
		t.Errorf("%v behind\n%s", err, &out)
	} else if err := (doctest.Names{}).Match(want, strings.TrimLeft(out.String(), "\n")); err != nil {
		t.Error(err)
	}
	if err := d.stopDaemon(t.Context()); err != nil {
		t.Error(err)
	}
}
