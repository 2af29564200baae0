package configs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"sandpool/lifetime"
)

// maxSocket is the kernel's limit for the path of a unix socket, in bytes.
const maxSocket = 107

// identifierPattern is what containerd takes as the name of a namespace or a plugin.
var identifierPattern = regexp.MustCompile(`^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$`)

func (f *faults) absolute(key, path string) {
	if !filepath.IsAbs(path) || strings.Contains(path, "\x00") {
		f.add(key, "%q: want an absolute path", path)
	}
}

func (f *faults) socket(key, path string) {
	f.absolute(key, path)
	if len(path) > maxSocket {
		f.add(key, "%d bytes long: the path of a socket has at most %d", len(path), maxSocket)
	}
}

func (f *faults) identifier(key, value string) {
	if !identifierPattern.MatchString(value) {
		f.add(key, "%q: want letters and digits, with single dots, dashes or underscores between them", value)
	}
}

func (f *faults) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.add(key, "%q: want one of %s", value, strings.Join(allowed, ", "))
	}
}

// line checks a command line for a shell.
func (f *faults) line(key, command string) {
	if strings.TrimSpace(command) == "" || strings.Contains(command, "\x00") {
		f.add(key, "%q: want a command line", command)
	}
}

// command checks a program and its arguments; none is fine.
func (f *faults) command(key string, command []string) {
	if len(command) > 0 && command[0] == "" {
		f.add(key, "the first item is empty: want a program")
	}
	for i, arg := range command {
		if strings.Contains(arg, "\x00") {
			f.add(fmt.Sprintf("%s[%d]", key, i), "%q: has a NUL in it", arg)
		}
	}
}

func (f *faults) number(key string, n, least, most int) (ok bool) {
	if ok = n >= least && n <= most; !ok {
		f.add(key, "%d: want %d to %d", n, least, most)
	}
	return ok
}

func (f *faults) duration(key string, d lifetime.Duration, least, most time.Duration) (ok bool) {
	switch {
	case d.Std() >= least && d.Std() <= most:
		return true
	case d.Std() > most:
		f.add(key, "%s: want at most %s", d, lifetime.Duration(most))
	case d < 0:
		f.add(key, "%s: want no less than 0", d)
	case d == 0:
		f.add(key, "%s: want more than 0", d)
	case d.Std() < least:
		f.add(key, "%s: want at least %s", d, lifetime.Duration(least))
	}
	return false
}
