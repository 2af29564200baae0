package table

import (
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"sandpool/daemon/wire"
)

// Further stands before what goes on of a line.
const Further = "    "

// Pair is what stands for something, and its name.
type Pair struct{ Name, Value string }

// WritePairs writes names below one another, with their values behind them. Values that are longer than a width allows go on below
// themselves; a width of 0 has no bound.
func WritePairs(w io.Writer, width int, pairs []Pair) error {
	widest := 0
	for _, p := range pairs {
		widest = max(widest, ansi.StringWidth(wire.Printable(p.Name)))
	}
	indent := strings.Repeat(" ", widest) + gap
	for _, p := range pairs {
		name := wire.Printable(p.Name)
		name += indent[ansi.StringWidth(name):]
		if err := WriteText(w, width, indent, name+wire.Printable(p.Value)); err != nil {
			return err
		}
	}
	return nil
}

// WriteText writes a line that others may have written, over as many as a width makes of it, all but the first indented.
func WriteText(w io.Writer, width int, indent, text string) error {
	_, err := io.WriteString(w, Wrap(wire.Printable(text), width, indent)+"\n")
	return err
}

// Wrap breaks a line at spaces where it is longer than a width, as far as it has any, and puts an indent before what comes behind.
func Wrap(line string, width int, indent string) string {
	var wrapped strings.Builder
	line = strings.TrimRight(line, " ")
	for begin := len(line) - len(strings.TrimLeft(line, " ")); width > 0 && ansi.StringWidth(line) > width; begin = len(indent) {
		at := strings.LastIndexByte(ansi.Truncate(line, width+1, ""), ' ')
		if at <= begin {
			if at = strings.IndexByte(line[begin:], ' '); at < 0 {
				break
			}
			at += begin
		}
		wrapped.WriteString(strings.TrimRight(line[:at], " ") + "\n")
		line = indent + strings.TrimLeft(line[at:], " ")
	}
	return wrapped.String() + line
}
