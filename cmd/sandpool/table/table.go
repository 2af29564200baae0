// Package table writes tables of texts that others may have written.
package table

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/charmbracelet/x/ansi"

	"sandpool/daemon/wire"
)

// Align writes what text writes, aligned at its tabs.
func Align(to io.Writer, text func(w io.Writer)) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	text(table)
	return table.Flush()
}

// Line writes one line whose cells are separated by tabs, whatever others wrote into them. Its writer keeps an error for Flush.
func Line(w io.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			_, _ = io.WriteString(w, "\t")
		}
		_, _ = io.WriteString(w, wire.Printable(fmt.Sprint(cell)))
	}
	_, _ = io.WriteString(w, "\n")
}

// Style is how a row looks on a terminal with colours.
type Style string

// The styles of rows, as parameters of the terminal's sequence.
const (
	Plain Style = ""
	Head  Style = "1"  // bold
	Soon  Style = "33" // yellow: somebody should look
	Bad   Style = "31" // red
)

// On is a text in the style.
func (s Style) On(text string) string {
	if s == Plain {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[m"
}

// Column is one of a table's columns.
type Column struct {
	Name  string
	Right bool // numbers and times are aligned at the right
	Drop  int  // where the width does not do, columns of the highest go first; 0 stays
	Cut   bool // its texts may be cut
	Wide  bool // it is only for wide tables
	Rare  bool // it is left out when it has nothing to show; for the last ones, so that the others keep their places
}

// Table is rows below the names of columns.
type Table struct {
	columns []Column
	rows    [][]string
	styles  []Style
}

// New is a table without rows.
func New(columns ...Column) *Table { return &Table{columns: columns} }

// none stands in a cell that has nothing to show.
const none = "–"

// Row adds a row; it has as many cells as the table has columns.
func (t *Table) Row(cells ...any) { t.Styled(Plain, cells...) }

// Styled is Row for a row of a style.
func (t *Table) Styled(style Style, cells ...any) {
	row := make([]string, len(t.columns))
	for i, cell := range cells {
		row[i] = wire.Printable(fmt.Sprint(cell))
	}
	t.rows, t.styles = append(t.rows, row), append(t.styles, style)
}

// Empty tells whether there are no rows.
func (t *Table) Empty() bool { return len(t.rows) == 0 }

// Names are the cells of the first column.
func (t *Table) Names() []string {
	names := make([]string, len(t.rows))
	for i, row := range t.rows {
		names[i] = row[0]
	}
	return names
}

// Screen is what a table is written for.
type Screen struct {
	Width  int // of lines, in columns of the terminal; 0 has no bound
	Wide   bool
	Colour bool
}

// Write writes the table.
func (t *Table) Write(w io.Writer, s Screen) error {
	for i, line := range t.Lines(s) {
		if s.Colour {
			line = t.style(i).On(line)
		}
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// style is that of a line, of which the first is the head.
func (t *Table) style(line int) Style {
	if line == 0 {
		return Head
	}
	return t.styles[line-1]
}

// Lines are the names of the columns and the rows, without styles.
func (t *Table) Lines(s Screen) []string {
	head := make([]string, len(t.columns))
	for i, c := range t.columns {
		head[i] = c.Name
	}
	shown, widths := t.fit(s)
	lines := []string{t.line(head, shown, widths, s.Width)}
	for _, row := range t.rows {
		lines = append(lines, t.line(row, shown, widths, s.Width))
	}
	return lines
}

const gap = "  " // between columns

func (t *Table) line(cells []string, shown, widths []int, width int) string {
	parts := make([]string, len(shown))
	for i, at := range shown {
		text := ansi.Truncate(cmp.Or(cells[at], none), widths[at], "…")
		space := strings.Repeat(" ", widths[at]-ansi.StringWidth(text))
		if t.columns[at].Right {
			parts[i] = space + text
		} else {
			parts[i] = text + space
		}
	}
	line := strings.TrimRight(strings.Join(parts, gap), " ")
	if width > 0 {
		line = ansi.Truncate(line, width, "…")
	}
	return line
}

// fit chooses the columns that are shown, and how wide each is.
func (t *Table) fit(s Screen) (shown, widths []int) {
	widths = make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = ansi.StringWidth(c.Name)
		empty := true
		for _, row := range t.rows {
			widths[i] = max(widths[i], ansi.StringWidth(cmp.Or(row[i], none)))
			empty = empty && row[i] == ""
		}
		if (!c.Wide || s.Wide) && (!c.Rare || !empty) {
			shown = append(shown, i)
		}
	}
	for s.Width > 0 && !t.cut(shown, widths, s.Width) {
		at := t.first(shown)
		if at < 0 {
			break // the lines are cut
		}
		shown = slices.Delete(shown, at, at+1)
	}
	return shown, widths
}

// first is which of the shown columns is dropped first; none if it is negative.
func (t *Table) first(shown []int) int {
	at, most := -1, 0
	for i, column := range shown {
		if drop := t.columns[column].Drop; drop > most {
			at, most = i, drop
		}
	}
	return at
}

// leastCut is what is left at least of texts that are cut, and leastReason of those that few rows have: sentences.
const (
	leastCut    = 12
	leastReason = 24
)

// least is what is left at least of a column's texts.
func (c Column) least() int {
	switch {
	case !c.Cut:
		return math.MaxInt
	case c.Rare:
		return leastReason
	default:
		return leastCut
	}
}

// cut makes columns narrower that may be cut, the widest first, until they fit; false, with nothing done, if they would not.
func (t *Table) cut(shown, widths []int, width int) bool {
	over, room := len(gap)*(len(shown)-1)-width, 0
	for _, i := range shown {
		over += widths[i]
		room += max(widths[i]-t.columns[i].least(), 0)
	}
	if over > room {
		return false
	}
	for ; over > 0; over-- {
		widest := -1
		for _, i := range shown {
			if widths[i] > t.columns[i].least() && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		widths[widest]--
	}
	return true
}
