// Package doctor checks a host for what sandpoold needs. The checks are pure: they judge a view of the host that Look takes.
package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// Level is how a check ended.
type Level string

// The levels, from good to bad.
const (
	OK      Level = "ok"
	Info    Level = "info"    // not there, and not needed
	Warning Level = "warning" // the daemon works, less well
	Failure Level = "failure" // the daemon does not work
)

// Result is what one check found.
type Result struct {
	Name   string `json:"name"`
	Level  Level  `json:"level"`
	Text   string `json:"text"`           // what was found and what it means
	Repair string `json:"mend,omitempty"` // the command that mends it
}

// Check makes all checks of a host, in the order in which faults are best mended.
func Check(h Host) []Result {
	all := append([]Result{checkConfig(h)}, hostChecks(h)...)
	if h.ConfigErr != nil {
		return all // what a broken file asks for is not known
	}
	return slices.Concat(all, nicChecks(h), stackChecks(h), roomChecks(h))
}

// Failed tells whether any check failed.
func Failed(results []Result) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.Level == Failure })
}

func good(name, format string, args ...any) Result { return result(name, OK, "", format, args...) }

func info(name, format string, args ...any) Result { return result(name, Info, "", format, args...) }

func warning(name, repair, format string, args ...any) Result {
	return result(name, Warning, repair, format, args...)
}

func failure(name, repair, format string, args ...any) Result {
	return result(name, Failure, repair, format, args...)
}

// result is one line, whatever lines the errors in it have.
func result(name string, level Level, repair, format string, args ...any) Result {
	text := strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf(format, args...)), "\n", "; ")
	return Result{Name: name, Level: level, Text: text, Repair: repair}
}

func checkConfig(h Host) Result {
	switch {
	case h.ConfigErr != nil:
		return failure("configuration", "sandpoold --check-config "+h.ConfigPath, "the daemon does not start with it: %v", h.ConfigErr)
	case h.ConfigMissing:
		return info("configuration", "%s does not exist; the defaults are used", h.ConfigPath)
	default:
		return good("configuration", "%s has no fault", h.ConfigPath)
	}
}
