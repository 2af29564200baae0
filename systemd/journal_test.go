package systemd

import (
	"errors"
	"log/slog"
	"maps"
	"testing"

	"github.com/coreos/go-systemd/v22/journal"
)

func TestJournalFields(t *testing.T) {
	var message string
	var level journal.Priority
	var fields map[string]string
	log := slog.New(newJournal(slog.LevelInfo, func(m string, p journal.Priority, f map[string]string) error {
		message, level, fields = m, p, f
		delete(f, "SYSLOG_IDENTIFIER")
		return nil
	}))
	for name, tc := range map[string]struct {
		log     func()
		message string
		level   journal.Priority
		fields  map[string]string
	}{
		"claim": {
			func() { log.Info("claimed", "claim", "c-1", "pool", "local:default", "took", 3) }, "claimed claim=c-1 pool=local:default took=3",
			journal.PriInfo, map[string]string{"CLAIM_ID": "c-1", "POOL": "local:default", "SANDPOOL_TOOK": "3"},
		},
		"event": {
			func() { log.Error("event", "kind", "died", "message", "it is gone") }, `event kind=died message="it is gone"`,
			journal.PriErr, map[string]string{"EVENT": "died", "SANDPOOL_MESSAGE": "it is gone"},
		},
		"kept attributes": {
			func() { log.With("sandbox", "sb-1").WithGroup("a b").With("c", 1).Warn("x", "claim", "c-2") }, `x sandbox=sb-1 "a b.c"=1 "a b.claim"=c-2`,
			journal.PriWarning, map[string]string{"SANDBOX_ID": "sb-1", "SANDPOOL_A_B_C": "1", "SANDPOOL_A_B_CLAIM": "c-2"},
		},
		"group and error": {
			func() { log.Info("y", slog.Group("g", "k", "v"), "err", errors.New("why"), "empty", "") }, `y g.k=v err=why empty=""`,
			journal.PriInfo, map[string]string{"SANDPOOL_G_K": "v", "SANDPOOL_ERR": "why"},
		},
		"text of others": {
			func() {
				log.Info("a\x1b[2J\nb", "reason", "x\x1b]0;y\a\nEVENT=died \u202e\xff é", "err", errors.New("1\r2"))
			},
			`a\x1b[2J` + "\nb " + `reason="x\x1b]0;y\a\nEVENT=died \u202e\xff é" err="1\r2"`,
			journal.PriInfo, map[string]string{"SANDPOOL_REASON": `x\x1b]0;y\a\nEVENT=died \u202e\xff é`, "SANDPOOL_ERR": `1\r2`},
		},
		"below the level": {func() { log.Debug("no") }, "", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			message, level, fields = "", 0, nil
			tc.log()
			if message != tc.message || level != tc.level || !maps.Equal(fields, tc.fields) {
				t.Errorf("the journal got %q with priority %d and %v", message, level, fields)
			}
		})
	}
}

// TestJournalElsewhere shows that a daemon whose output does not go to the journal does not write there.
func TestJournalElsewhere(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "1:1")
	if Journal(slog.LevelInfo) != nil {
		t.Error("a handler for a journal that standard error is not connected to")
	}
}
