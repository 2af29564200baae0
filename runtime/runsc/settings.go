package runsc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// Setting is the value of one runsc flag and where it was configured.
type Setting struct {
	Value string
	Pos   string // FILE:LINE, for messages
}

// reserved are the flags that the daemon sets itself, and what to use instead.
var reserved = map[string]string{
	"platform": "set runsc.platform",
	"root":     "it follows daemon.state_dir",
}

// renamed translates flags of old gVisor releases: the new flag and the value for each old one.
// An empty value leaves the flag out, since that is today's meaning of the old default.
var renamed = map[string]struct {
	flag   string
	values map[string]string
}{
	"overlay":          {"overlay2", map[string]string{"true": "all:memory", "false": "none"}},
	"fsgofer-host-uds": {"host-uds", map[string]string{"true": "all", "false": "none"}},
	"mount-cgroup-v2":  {"in-sandbox-cgroup", map[string]string{"true": "v2", "false": "v1"}},
}

// flagLine matches a flag's name in the output of `runsc flags`; its description follows, indented further.
var flagLine = regexp.MustCompile(`^  -([A-Za-z0-9_-]+)`)

const noEffect = "DEPRECATED: this flag has no effect"

// parseFlags reads the output of `runsc flags`: each flag's name and description.
func parseFlags(out []byte) map[string]string {
	flags := map[string]string{}
	name := ""
	for line := range strings.Lines(string(out)) {
		if m := flagLine.FindStringSubmatch(line); m != nil {
			name = m[1]
			flags[name] = ""
		} else if name != "" {
			flags[name] += strings.TrimSpace(line) + " "
		}
	}
	return flags
}

// translate gives settings the names that the installed runsc knows. Old names become warnings, unknown ones errors, all
// of them at once.
func translate(settings map[string]Setting, flags map[string]string) (map[string]Setting, []string, error) {
	out := map[string]Setting{}
	var warnings []string
	var faults []error
	fault := func(s Setting, name, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: runsc.flags.%s: %s", s.Pos, name, fmt.Sprintf(format, args...)))
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		s := settings[name]
		about, known := flags[name]
		next, old := renamed[name]
		switch {
		case reserved[name] != "":
			fault(s, name, "the daemon sets this flag: %s", reserved[name])
		case old:
			value, ok := next.values[s.Value]
			if _, twice := settings[next.flag]; twice {
				fault(s, name, "%s is set too; leave this old name out", next.flag)
			} else if !ok {
				fault(s, name, "%q is neither true nor false; use %s", s.Value, next.flag)
			} else {
				warnings = append(warnings, fmt.Sprintf("%s: runsc.flags.%s is an old name: use %s = %q", s.Pos, name, next.flag, value))
				out[next.flag] = Setting{Value: value, Pos: s.Pos}
			}
		case !known:
			fault(s, name, "the installed runsc has no such flag; `runsc flags` lists them")
		case strings.HasPrefix(about, noEffect):
			warnings = append(warnings, fmt.Sprintf("%s: runsc.flags.%s has no effect any more: leave it out", s.Pos, name))
		default:
			out[name] = s
		}
	}
	return out, warnings, errors.Join(faults...)
}

// Accept returns the settings as this runsc wants them, and what their author should know. Its flags must have been read.
func (p Program) Accept(ctx context.Context, settings map[string]Setting) (_ map[string]Setting, warnings []string, _ error) {
	accepted, warnings, err := translate(settings, p.Flags)
	return accepted, append(warnings, unenforced(accepted)...), errors.Join(err, p.checkValues(ctx, accepted))
}

// unenforced says which limits the configured flags of runsc do away with.
func unenforced(settings map[string]Setting) (warnings []string) {
	if s := settings["ignore-cgroups"]; s.Value == "true" {
		warnings = append(warnings, s.Pos+": runsc.flags.ignore-cgroups: the templates' cpus and memory_mib are not enforced with it")
	}
	if s := settings["overlay2"]; s.Value == "none" {
		warnings = append(warnings, s.Pos+": runsc.flags.overlay2: the templates' disk_mib are not enforced with \"none\"")
	}
	return warnings
}

// checkValues lets the installed runsc parse every value.
func (p Program) checkValues(ctx context.Context, settings map[string]Setting) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		s := settings[name]
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, p.Path, "--"+name+"="+s.Value, "flags")
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			first, _, _ := strings.Cut(stderr.String(), "\n")
			faults = append(faults, fmt.Errorf("%s: runsc.flags.%s: runsc refuses %q: %s", s.Pos, name, s.Value, first))
		}
	}
	return errors.Join(faults...)
}
