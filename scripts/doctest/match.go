package doctest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Names are what a page calls the things that a test has under other names: ids, and numbers of processes.
type Names map[string]string

// varying are the parts of a page's output that are another time something else:
//
//	…                 anything in a line; alone in its line, any lines or none
//	c-w73zxmsjhe6czdw3  an id: the same one wherever the page has it
//	28                alone in its line: a number that a later command has, as that of a process
//	9m59s             a duration that is not quoted: from three quarters of it to a tenth more, and any under an hour if it is under a minute
//	21 ms, 2.4 s      a time that something took: any
//	8.4 MiB           a size: any
//	21.0, 0.1s, 8841018  a number with a point that is not quoted, or of five digits and more: any
//	2026-11-28, 05:10:02, …T05:10:02.2Z, sha256:…  any of its kind
//
// More spaces than one stand for one or more, as the columns of tables move.
var varying = regexp.MustCompile(`…|\b\d+(?:\.\d+)? m?s\b|\b\d+(?:\.\d+)? [KMGT]?i?B\b|\b(?:c|sb|ck)-[a-z2-7]{16}\b|sha256:[0-9a-f]{64}|\b\d{4}-\d\d-\d\d(?:T[\d:.]+Z)?|\b\d\d:\d\d:\d\d\b|"?\bv?\d+(?:\.\d+)+(?:[dhmsµn]*\b)|\b\d{5,}\b|"?\b(?:\d+[dhms]){1,4}\b| {2,}`)

var loneNumber = regexp.MustCompile(`^\d+$`)

// In puts what the test has in place of what the page calls so, all at once: what has one name may be what the page calls something else.
func (n Names) In(command string) string {
	if len(n) == 0 {
		return command
	}
	return word(slices.Collect(maps.Keys(n))...).ReplaceAllStringFunc(command, func(page string) string { return n[page] })
}

// pattern is a regular expression under construction, and what its groups have to be.
type pattern struct {
	text   strings.Builder
	checks []func(got string) bool // of each group
	binds  []string                // what the page calls it; empty: nothing

	numbers []string // that are another time something else
}

// Match compares what was printed with what the page says, and learns the names that the page has for it, also for the numbers of a step.
func (n Names) Match(page, printed string, numbers ...string) error {
	p := pattern{numbers: numbers}
	p.text.WriteString(`^`)
	for line := range strings.Lines(page) {
		p.line(strings.TrimRight(line, " \n"), n)
	}
	p.text.WriteString(`$`)
	re, err := regexp.Compile(p.text.String())
	if err != nil {
		return fmt.Errorf("compile %s: %w", p.text.String(), err)
	}
	groups := re.FindStringSubmatch(trimLines(printed))
	if groups == nil {
		return fmt.Errorf("it printed\n%swant\n%s", printed, page)
	}
	for i, got := range groups[1:] {
		if check := p.checks[i]; check != nil && !check(got) {
			return fmt.Errorf("it printed %q, which is too far from what the page says, in\n%swant\n%s", got, printed, page)
		}
		if name := p.binds[i]; name != "" {
			if known, ok := n[name]; ok && known != got {
				return fmt.Errorf("it printed %s, which the page calls %s and knows as %s, in\n%s", got, name, known, printed)
			}
			n[name] = got
		}
	}
	return nil
}

func trimLines(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.TrimRight(line, " \r\n") + "\n")
	}
	return out.String()
}

func (p *pattern) line(line string, names Names) {
	if strings.TrimSpace(line) == "…" {
		p.text.WriteString(`(?:.*\n)*?`)
		return
	}
	if slices.Contains(p.numbers, line) {
		p.group(`(\d+)`, line, nil)
		p.text.WriteString(`\n`)
		return
	}
	at := 0
	for _, found := range varying.FindAllStringIndex(line, -1) {
		p.text.WriteString(regexp.QuoteMeta(line[at:found[0]]))
		p.part(line[found[0]:found[1]], names)
		at = found[1]
	}
	p.text.WriteString(regexp.QuoteMeta(line[at:]) + `\n`)
}

func (p *pattern) group(text, bind string, check func(string) bool) {
	p.text.WriteString(text)
	p.binds, p.checks = append(p.binds, bind), append(p.checks, check)
}

// part adds what varies.
func (p *pattern) part(part string, names Names) {
	switch {
	case part == "…":
		p.text.WriteString(`.*?`)
	case strings.HasSuffix(part, " s"), strings.HasSuffix(part, " ms"):
		p.text.WriteString(`\d+(?:\.\d+)? m?s`)
	case strings.HasSuffix(part, "B"):
		p.text.WriteString(`\d+(?:\.\d+)? [KMGT]?i?B`)
	case strings.HasPrefix(part, "  "):
		p.text.WriteString(` +`)
	case strings.HasPrefix(part, `"`): // a quoted duration is a setting
		p.text.WriteString(regexp.QuoteMeta(part))
	case strings.HasPrefix(part, "sha256:"):
		p.text.WriteString(`sha256:[0-9a-f]{64}`)
	case strings.Contains(part, "T") && strings.HasSuffix(part, "Z"):
		p.text.WriteString(`\d{4}-\d\d-\d\dT[\d:.]+Z`)
	case strings.Count(part, ":") == 2:
		p.text.WriteString(`\d\d:\d\d:\d\d`)
	case strings.Count(part, "-") == 2:
		p.text.WriteString(`\d{4}-\d\d-\d\d`)
	case strings.Contains(part, "-"):
		if real, ok := names[part]; ok {
			p.text.WriteString(real)
			return
		}
		p.group(`(`+part[:strings.Index(part, "-")]+`-[a-z2-7]{16})`, part, nil)
	case strings.Contains(part, "."):
		p.text.WriteString(`v?\d+(?:\.\d+)*[dhmsµn]*`)
	case strings.ContainsAny(part, "dhms"):
		p.group(`((?:\d+[dhms])+)`, "", near(part))
	default:
		p.text.WriteString(`\d+`)
	}
}

// near tells of a duration whether it is about another.
func near(page string) func(string) bool {
	want := duration(page)
	return func(printed string) bool {
		got := duration(printed)
		return want < time.Minute && got < time.Hour || got >= want*3/4 && got <= want*11/10
	}
}

// duration reads one as people write it, with days.
func duration(text string) time.Duration {
	var days time.Duration
	if number, rest, ok := strings.Cut(text, "d"); ok {
		d, _ := time.ParseDuration(number + "h")
		days, text = 24*d, rest
	}
	rest, _ := time.ParseDuration(text) // the caller has seen that it is one; empty behind days
	return days + rest
}
