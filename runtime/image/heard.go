package image

import (
	"fmt"
	"regexp"
	"unicode/utf8"

	"sandpool/runtime/oneline"
)

// longestLine is how much of what others said goes into an error, in bytes.
const longestLine = 1 << 10

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
	text := oneline.Of(withoutSecrets(h.error.Error()))
	if len(text) <= longestLine {
		return text
	}
	cut := longestLine
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes more)", text[:cut], len(text)-cut)
}
