package runtime

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longestLine is how much of what others said goes into an error, in bytes.
const longestLine = 1 << 10

// oneLine is text of others as it can be shown: on one line, without what a terminal would act on.
func oneLine(text string) string {
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

var (
	userInfo = regexp.MustCompile(`(://)[^/\s"@]*@`)
	query    = regexp.MustCompile(`(://[^\s"?#]*)[?#][^\s"]*`)
)

// withoutSecrets is text without what its URLs may tell nobody: user names, passwords and queries, which sign them.
func withoutSecrets(text string) string {
	return query.ReplaceAllString(userInfo.ReplaceAllString(text, "$1"), "$1")
}

// heardError is an error that quotes a registry, fit to be shown to everyone.
type heardError struct{ error }

func (h heardError) Unwrap() error { return h.error }

func (h heardError) Error() string {
	text := oneLine(withoutSecrets(h.error.Error()))
	if len(text) <= longestLine {
		return text
	}
	cut := longestLine
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes more)", text[:cut], len(text)-cut)
}
