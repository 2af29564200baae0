package configs

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"sandpool/lifetime"
)

// AllEvents stands for every kind of event in a hook. It stands alone.
const AllEvents = "*"

// EventKinds are the kinds of events that the daemon and its pools tell of.
var EventKinds = []string{
	"claimed", "released", "extended", "warning", "grace", "checkpoint", "checkpoint_failed", "checkpoint_deleted",
	"stopped", "killed", "kill_failed", "died", "paused", "resumed", "suspended", "restored", "denied", "image_pulled", "image_failed",
}

// Hook is who is told of events as they happen: either URL or Command.
type Hook struct {
	Events  []string          `toml:"events"`  // kinds, or AllEvents alone
	URL     string            `toml:"url"`     // http or https
	Command []string          `toml:"command"` // a program by its absolute path, and its arguments
	Timeout lifetime.Duration `toml:"timeout"` // of one attempt
	Retries int               `toml:"retries"` // after the first attempt
}

// defaultHook also fills the keys that a file's hooks leave out.
var defaultHook = Hook{Timeout: seconds(10), Retries: 3}

func (h Hook) check(key string, found *faults) {
	h.checkEvents(join(key, "events"), found)
	switch {
	case h.URL == "" && len(h.Command) == 0:
		found.add(join(key, "url"), "neither this nor command is given: want one of them")
	case h.URL != "" && len(h.Command) > 0:
		found.add(join(key, "url"), "given together with command: want one of them")
	case h.URL != "":
		checkURL(join(key, "url"), h.URL, found)
	case !filepath.IsAbs(h.Command[0]):
		found.add(join(key, "command"), "%q: want the program's absolute path first", h.Command[0])
	}
	found.command(join(key, "command"), h.Command)
	found.duration(join(key, "timeout"), h.Timeout, time.Millisecond, maxTimeout)
	found.number(join(key, "retries"), h.Retries, 0, maxRetries)
}

func (h Hook) checkEvents(key string, found *faults) {
	if len(h.Events) == 0 {
		found.add(key, "none: want kinds of events, or %q alone for all", AllEvents)
	}
	if len(h.Events) > 1 && slices.Contains(h.Events, AllEvents) {
		found.add(key, "%q in a list: it stands alone", AllEvents)
	}
	for i, kind := range h.Events {
		at := fmt.Sprintf("%s[%d]", key, i)
		found.oneOf(at, kind, append(slices.Clone(EventKinds), AllEvents)...)
		if slices.Contains(h.Events[:i], kind) {
			found.add(at, "%q: named twice", kind)
		}
	}
}

func checkURL(key, text string, found *faults) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		found.add(key, "%q: want an absolute http or https URL", text)
	}
}
