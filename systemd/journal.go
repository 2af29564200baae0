package systemd

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/journal"
)

// journalFields are the names in the journal of attributes that people search for. All others get the prefix SANDPOOL_, so
// that none takes the place of a field that has a meaning there.
var journalFields = map[string]string{"claim": "CLAIM_ID", "sandbox": "SANDBOX_ID", "pool": "POOL", "kind": "EVENT"}

// Journal returns a handler that writes records of a level and above to the journal, with their attributes as fields. It
// returns nil when standard error does not lead there: then somebody else reads what is logged.
func Journal(level slog.Leveler) slog.Handler {
	if connected, err := journal.StderrIsJournalStream(); err != nil || !connected {
		return nil
	}
	return newJournal(level, journal.Send)
}

// newJournal makes the handler with a function in the place of journal.Send.
func newJournal(level slog.Leveler, send func(string, journal.Priority, map[string]string) error) *journalHandler {
	out := &journalOutput{send: send}
	text := slog.NewTextHandler(&out.text, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutHead})
	return &journalHandler{out: out, text: text}
}

// journalOutput is what all handlers with a common origin share.
type journalOutput struct {
	send func(string, journal.Priority, map[string]string) error

	mu   sync.Mutex   // guards text
	text bytes.Buffer // the attributes of one record, as people read them
}

type journalHandler struct {
	out    *journalOutput
	text   slog.Handler
	prefix string // of the group that is open
	attrs  []slog.Attr
}

// withoutHead leaves out what the journal shows by itself.
func withoutHead(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}

func (h *journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.text.Enabled(ctx, level)
}

func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	fields := map[string]string{"SYSLOG_IDENTIFIER": filepath.Base(os.Args[0])}
	for _, a := range h.attrs {
		fill(fields, "", a)
	}
	r.Attrs(func(a slog.Attr) bool {
		fill(fields, h.prefix, a)
		return true
	})
	message, err := h.message(ctx, r)
	if err != nil {
		return err
	}
	return h.out.send(message, priority(r.Level), fields)
}

// message is a record's text with its attributes behind, which `journalctl` shows without further options.
func (h *journalHandler) message(ctx context.Context, r slog.Record) (string, error) {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.text.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return "", err
	}
	lines := strings.Split(r.Message, "\n") // of a goroutine's stack; the journal keeps them together
	for i := range lines {
		lines[i] = escaped(lines[i])
	}
	return strings.TrimSpace(strings.Join(lines, "\n") + " " + h.out.text.String()), nil
}

func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.text = h.text.WithAttrs(attrs)
	next.attrs = append([]slog.Attr{}, h.attrs...)
	for _, a := range attrs {
		next.attrs = append(next.attrs, slog.Attr{Key: h.prefix + a.Key, Value: a.Value})
	}
	return &next
}

func (h *journalHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.text = h.text.WithGroup(name)
	if name != "" {
		next.prefix += name + "_"
	}
	return &next
}

// fill adds an attribute to the fields; a group adds each of its own.
func fill(fields map[string]string, prefix string, a slog.Attr) {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "_"
		}
		for _, inner := range value.Group() {
			fill(fields, prefix, inner)
		}
		return
	}
	if text := value.String(); text != "" {
		fields[field(prefix+a.Key)] = escaped(text)
	}
}

// escaped shows what a terminal would obey, and what begins a line, as a Go text in quotes would: others wrote parts of what is logged.
func escaped(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 && utf8.ValidString(text) {
		return text
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// field is the name of an attribute in the journal, which takes capital letters, digits and underscores.
func field(key string) string {
	if name, known := journalFields[key]; known {
		return name
	}
	return "SANDPOOL_" + strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			return c
		default:
			return '_'
		}
	}, key)
}

func priority(level slog.Level) journal.Priority {
	switch {
	case level >= slog.LevelError:
		return journal.PriErr
	case level >= slog.LevelWarn:
		return journal.PriWarning
	case level >= slog.LevelInfo:
		return journal.PriInfo
	default:
		return journal.PriDebug
	}
}
