// Package oneline makes what others said fit to be shown.
package oneline

import (
	"strconv"
	"strings"
	"unicode"
)

// Of is text of others as it can be shown: on one line, without what a terminal would act on.
func Of(text string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(strings.ToValidUTF8(text, "?"), unicode.IsSpace) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		for _, r := range word {
			if unicode.IsPrint(r) {
				b.WriteRune(r)
			} else {
				b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			}
		}
	}
	return b.String()
}
