package listing

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/doctor"
	"sandpool/daemon/wire"
)

// levelOf is a level of checks.
type levelOf struct {
	level doctor.Level
	style table.Style
	many  string
}

// levels are the levels of checks, the gravest first, with how they look.
var levels = []levelOf{{doctor.Failure, table.Bad, "failed"}, {doctor.Warning, table.Soon, "warnings"}, {doctor.Info, table.Plain, "notes"}, {doctor.OK, table.Plain, "ok"}}

// WriteChecks writes one line for each check, with what repairs it on a line of its own, and in the end how many there are of each level.
func WriteChecks(w io.Writer, results []doctor.Result, colour bool) {
	t := table.New(table.Column{Name: "LEVEL"}, table.Column{Name: "CHECK"}, table.Column{Name: "FOUND"})
	count := map[doctor.Level]int{}
	for _, r := range results {
		count[r.Level]++
		t.Row(r.Level, r.Name, r.Text)
	}
	for i, line := range t.Lines(table.Screen{})[1:] {
		at := slices.IndexFunc(levels, func(l levelOf) bool { return l.level == results[i].Level })
		if colour && at >= 0 {
			line = levels[at].style.On(line)
		}
		_, _ = fmt.Fprintln(w, line)
		if repair := results[i].Repair; repair != "" {
			_, _ = fmt.Fprintln(w, "    → "+wire.Printable(repair))
		}
	}
	var words []string
	for _, l := range levels {
		if n := count[l.level]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, l.many))
		}
	}
	_, _ = fmt.Fprintln(w, strings.Join(words, ", "))
}
