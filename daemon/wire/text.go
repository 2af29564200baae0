package wire

import (
	"strings"
	"unicode"
)

// Printable makes one line of a text that others wrote: what a terminal would obey, would break the line or would turn the
// direction of writing becomes a space, and what is no UTF-8 becomes U+FFFD.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return ' '
		}
		return r
	}, text)
}
