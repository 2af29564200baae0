package events

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"sandpool/daemon/wire"
)

func TestSelection(t *testing.T) {
	var all []wire.Event
	for i, kind := range []string{"claimed", "warning", "died", "claimed"} {
		all = append(all, wire.Event{Kind: kind, Cursor: string(rune('a' + i)), Time: time.Now().Add(time.Duration(i-3) * time.Hour)})
	}
	for flags, want := range map[string]string{
		"":                                      "abcd",
		"--kind died":                           "c",
		"--kind died,claimed -n 2":              "cd",
		"--kind died --kind warning":            "bc",
		"--since 90m":                           "cd",
		"--since 2001-01-01T00:00:00Z --last 3": "bcd",
		"-n -1":                                 "want at least 1",
		"-n 0":                                  "want at least 1",
		"-n many":                               "want at least 1",
		"--kind dyed":                           `--kind "dyed": want one of`,
		"--since soon":                          "want a time such as",
		"--since -1m":                           "want a time such as",
	} {
		var s Selection
		var got string
		cmd := &cobra.Command{SilenceErrors: true, SilenceUsage: true, Args: func(*cobra.Command, []string) error { return s.Check() }, Run: func(*cobra.Command, []string) {
			var last []wire.Event
			for _, e := range all {
				if s.Last > 0 {
					last = s.Newest(last, e)
				} else if s.Has(e) {
					last = append(last, e)
				}
			}
			for _, e := range last {
				got += e.Cursor
			}
		}}
		s.Flags(cmd)
		cmd.SetOut(io.Discard)
		cmd.SetArgs(strings.Fields(flags))
		if err := cmd.Execute(); err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || len(want) < 5 && got != want {
			t.Errorf("%s: %q, want %q", flags, got, want)
		}
	}
}
