package testhost

import (
	"os"
	"os/signal"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// kept are the names of the variables that tests take from their caller: what finds programs, files and Go's caches. A name that ends
// with * stands for all that begin so.
var kept = []string{"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "CC", "CXX", "CGO_*", "GO*", "SANDPOOL_STACK"}

// maxTemp is the longest TMPDIR with which tests can make sockets in their folders: the path of one ends at 107 bytes.
const maxTemp = 32

// Environ returns the environment of tests whose caller has that of from: all else that the caller exported, such as the addresses of a
// daemon and of containerd, is for the caller alone.
func Environ(from []string) []string {
	env := []string{"LANG=C.UTF-8", "TZ=UTC"}
	for _, entry := range from {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case name == "TMPDIR" && len(value) > maxTemp:
		case name == "XDG_CACHE_HOME" && value != "": // go follows these two, and so may programs that tests start
			env = append([]string{"GOCACHE=" + value + "/go-build"}, env...)
		case name == "XDG_CONFIG_HOME" && value != "":
			env = append([]string{"GOENV=" + value + "/go/env"}, env...)
		case slices.ContainsFunc(kept, func(pattern string) bool { return matches(name, pattern) }):
			env = append(env, entry)
		}
	}
	return env // of two entries of one name the last counts
}

func matches(name, pattern string) bool {
	prefix, open := strings.CutSuffix(pattern, "*")
	return name == pattern || open && strings.HasPrefix(name, prefix)
}

// ClearEnv leaves only Environ in the environment of this process. Every TestMain begins with it, by Main or itself. Signals that nohup
// or a job in the background has ignored are ignored by this process only, and not by the programs that it starts.
func ClearEnv() {
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig) // what is caught is not inherited
		}
	}
	env := Environ(os.Environ())
	os.Clearenv()
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		_ = os.Setenv(name, value) // it was a variable before
	}
}
