// Package label writes values as labels of containers, and reads them.
package label

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxText keeps a label below containerd's limit of 4096 bytes, with its name.
const maxText = 3800

// maxParts is how many labels a text may take.
const maxParts = 9

// maxReason is how much of a reason is kept, in bytes.
const maxReason = 1024

// FormatTime writes a time as Time reads it.
func FormatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// Time reads a time.
func Time(labels map[string]string, key string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, labels[key])
	if err != nil {
		return time.Time{}, fmt.Errorf("label %s: %q is not an RFC 3339 time", key, labels[key])
	}
	return t, nil
}

// Clip makes a reason fit into a label.
func Clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}

// Split writes a text of at most 32 KiB that may be too long for one label: the rest of it is in labels with numbers. An empty one has no label.
func Split(key, text string) map[string]string {
	labels := map[string]string{}
	for n := 1; text != "" && n <= maxParts; n++ {
		end := min(len(text), maxText)
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end--
		}
		labels[part(key, n)], text = text[:end], text[end:]
	}
	return labels
}

// Replace is Split for a text that takes the place of another, of which nothing may be left. It always writes the first label.
func Replace(key, old, text string) map[string]string {
	labels := Split(key, text)
	for name := range Split(key, old+" ") {
		if _, stays := labels[name]; !stays {
			labels[name] = ""
		}
	}
	return labels
}

// Join reads what Split wrote.
func Join(labels map[string]string, key string) string {
	var text strings.Builder
	for n := 1; n <= maxParts; n++ {
		text.WriteString(labels[part(key, n)])
	}
	return text.String()
}

func part(key string, n int) string {
	if n == 1 {
		return key
	}
	return key + "-" + strconv.Itoa(n)
}
