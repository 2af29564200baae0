package runtime

import (
	"strings"
	"testing"
	"time"

	"sandpool/runtime/template"
)

// TestLastWordsOfACommand has commands of templates end in every part of a start.
func TestLastWordsOfACommand(t *testing.T) {
	e := openEngine(t, testConfig(t))
	image := "file://" + host.Image
	never := func(t *template.Template) { t.ReadyCommand = "false" }
	const told = "until test -e /tmp/end; do sleep 0.05; done; echo port taken; exit 3"
	for name, test := range map[string]struct {
		script string
		change func(*template.Template)
		want   string
	}{
		"at once": {"echo one; printf 'port\\033[2J taken\\n' >&2; exit 3", never, `it wrote last: one port\x1b[2J taken`},
		"much":    {"head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end; exit 3", never, "xxx end"},
		"in prewarming": {told, func(t *template.Template) {
			t.Prewarm, t.PrewarmTimeout = []string{"touch /tmp/end; sleep 100"}, 50*time.Second
		}, "the template's command ended; it wrote last: port taken"},
		"before its port": {told, func(t *template.Template) {
			t.ReadyPort, t.Prewarm, t.PrewarmTimeout = 80, []string{"touch /tmp/end"}, 50*time.Second
		}, "the template's command ended; it wrote last: port taken"},
		"before its command": {told, func(t *template.Template) {
			t.ReadyCommand = "touch /tmp/end; false"
		}, "the template's command ended; it wrote last: port taken"},
		"without checks": {"echo port taken; exit 3", func(*template.Template) {}, "it wrote last: port taken"},
		"by an orphan":   {"(sleep 100; echo late) & echo port taken; exit 3", never, "it wrote last: port taken"},
	} {
		t.Run(name, func(t *testing.T) {
			template := template.Template{Image: image, Command: []string{"sh", "-c", test.script}, ReadyTimeout: 50 * time.Second}
			test.change(&template)
			p, err := e.Prepare(t.Context(), "ends", template)
			if err != nil {
				t.Fatal(err)
			}
			_, err = e.Start(t.Context(), newID(t, e), p, nil)
			if err == nil && name == "without checks" {
				return // it had not ended yet when the sandbox was probed
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 1000 {
				t.Errorf("%v; want %q in it", err, test.want)
			}
		})
	}
	t.Run("an output that nobody reads blocks no writer", func(t *testing.T) {
		p, err := e.Prepare(t.Context(), "writes", template.Template{
			Image: image, Command: []string{"sh", "-c", "head -c 10000000 /dev/zero; touch /tmp/done; exec sleep 1000"}, ReadyCommand: "test -e /tmp/done", ReadyTimeout: 50 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		id := newID(t, e)
		if _, err := e.Start(t.Context(), id, p, nil); err != nil {
			t.Fatal(err)
		}
		if code, out := run(t, e, id, "", "ps"); code != 0 || strings.Contains(out, "init ended") {
			t.Errorf("%d, %s; want no watcher left", code, out)
		}
	})
}
