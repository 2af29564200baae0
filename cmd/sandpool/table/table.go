// Package table writes tables of texts that others may have written.
package table

import (
	"fmt"
	"io"
	"text/tabwriter"

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
