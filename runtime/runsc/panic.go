package runsc

import (
	"bytes"
	"os"
	"strings"
	"unicode"
)

const (
	panicRead  = 16 << 10 // bytes; what else follows is the stacks of goroutines
	panicShown = 200      // characters
)

// PanicLine returns the first line of what a sentry wrote into its file of FlagPanicLog when it crashed, if it has.
func PanicLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	data := make([]byte, panicRead)
	n, _ := f.ReadAt(data, 0)
	first, _, _ := bytes.Cut(bytes.TrimSpace(data[:n]), []byte("\n"))
	line := strings.Map(func(r rune) rune { // what runs in the sandbox may have a say in it
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(first), ""))
	if runes := []rune(line); len(runes) > panicShown {
		return string(runes[:panicShown]) + "…"
	}
	return line
}
