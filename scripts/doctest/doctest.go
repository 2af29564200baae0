// Package doctest reads what the console blocks of a page show, and compares it with what is printed when somebody types their commands.
//
// A line that begins with "$ " or "# " is a command; what follows up to the next one is what it prints. A command goes on over a line's end
// with a backslash, and to the end of its here-document. A block behind a line "<!-- not typed: WHY -->" is not for a test.
package doctest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Step is a command and the lines that it prints.
type Step struct {
	Line    int // of the command, in the page
	Command string
	Output  string
	Numbers []string // lines of the output, those of processes, that later commands have
}

var (
	fence    = regexp.MustCompile("^( *)```(.*)$")
	notTyped = regexp.MustCompile(`^ *<!-- not typed: .+ -->$`)
	hereDoc  = regexp.MustCompile(`<<'?(\w+)'?`)
)

// Parse reads what a page shows. A block without a command is an error, and so is one whose first line is none.
func Parse(text string) ([]Step, error) {
	var steps []Step
	lines := strings.Split(text, "\n")
	skip := false
	for i := 0; i < len(lines); i++ {
		open := fence.FindStringSubmatch(lines[i])
		if open == nil {
			if strings.TrimSpace(lines[i]) != "" {
				skip = notTyped.MatchString(lines[i])
			}
			continue
		}
		first := i + 1
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
			lines[i] = strings.TrimPrefix(lines[i], open[1])
		}
		if open[2] == "console" && !skip {
			more, err := block(lines[first:min(i, len(lines))], first+1)
			if err != nil {
				return nil, err
			}
			steps = append(steps, more...)
		}
		skip = false
	}
	for i := range steps {
		steps[i].Numbers = numbers(steps[i].Output, steps[i+1:])
	}
	return steps, nil
}

// numbers are the lines of an output that are numbers and in the commands of later steps.
func numbers(output string, later []Step) (again []string) {
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		if loneNumber.MatchString(line) && slices.ContainsFunc(later, func(s Step) bool { return word(line).MatchString(s.Command) }) {
			again = append(again, line)
		}
	}
	return again
}

// word finds any of some texts where it is no part of a longer word.
func word(texts ...string) *regexp.Regexp {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = regexp.QuoteMeta(text)
	}
	return regexp.MustCompile(`\b(?:` + strings.Join(quoted, "|") + `)\b`)
}

// block reads the lines of a block, of which the first has the given number.
func block(lines []string, number int) ([]Step, error) {
	var steps []Step
	for i := 0; i < len(lines); i++ {
		command, ok := cutPrompt(lines[i])
		switch {
		case ok:
			step := Step{Line: number + i, Command: command}
			for open := unfinished(step.Command); open && i+1 < len(lines); open = unfinished(step.Command) {
				i++
				step.Command += "\n" + lines[i]
			}
			steps = append(steps, step)
		case len(steps) == 0:
			return nil, fmt.Errorf("line %d: %q is printed by no command", number+i, lines[i])
		default:
			steps[len(steps)-1].Output += lines[i] + "\n"
		}
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("line %d: a console block without a command", number)
	}
	return steps, nil
}

func cutPrompt(line string) (command string, ok bool) {
	if command, ok = strings.CutPrefix(line, "$ "); ok {
		return command, true
	}
	return strings.CutPrefix(line, "# ")
}

// unfinished tells whether a shell would read another line.
func unfinished(command string) bool {
	first, rest, _ := strings.Cut(command, "\n")
	if word := hereDoc.FindStringSubmatch(first); word != nil {
		return !strings.HasSuffix("\n"+rest, "\n"+word[1])
	}
	return strings.HasSuffix(command, "\\")
}
