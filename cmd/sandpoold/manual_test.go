package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestManualNamesFlags compares sandpoold(8), which is written by hand, with what --help lists.
func TestManualNamesFlags(t *testing.T) {
	page, err := os.ReadFile("sandpoold.8")
	if err != nil {
		t.Fatal(err)
	}
	var help strings.Builder
	if err := run([]string{"--help"}, io.Discard, &help); err != nil {
		t.Fatal(err)
	}
	names := func(pattern, text string) string {
		var all []string
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			all = append(all, match[1])
		}
		return strings.Join(all, " ")
	}
	flags := names(`(?m)^  -([a-z-]+)`, help.String())
	if got := names(`(?m)^\.It Fl \\-([a-z-]+)`, string(page)); got == "" || got != flags {
		t.Errorf("the manual explains %s; the daemon has %s", got, flags)
	}
}
