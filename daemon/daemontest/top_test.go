package daemontest

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sandpool/daemon/wire"
)

// terminal is a tmux with one window. It comes from scripts/stack.sh tmux.
type terminal struct {
	t      *testing.T
	socket string
}

// newTerminal runs a program in a terminal of 100x30, which then shows the program's exit code and stays: what a terminal shows of its
// last program may be lost.
func newTerminal(t *testing.T, dir, program string, args ...string) terminal {
	t.Helper()
	term := terminal{t, filepath.Join(dir, "tmux")}
	term.tmux(append([]string{"new-session", "-d", "-x", "100", "-y", "30", "sh", "-c", `"$@"; echo "ended with $?"; exec cat`, "sh", program}, args...)...)
	return term
}

// end ends the program and the terminal.
func (term terminal) end() {
	term.t.Helper()
	term.tmux("kill-server")
	await(term.t, "tmux is gone", func() bool {
		return !slices.ContainsFunc(host.Leftovers(), func(left string) bool { return strings.Contains(left, term.socket) })
	})
}

func (term terminal) tmux(args ...string) string {
	term.t.Helper()
	cmd := exec.CommandContext(term.t.Context(), "tmux", append([]string{"-u", "-S", term.socket, "-f", "/dev/null"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		term.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// awaitScreen waits until the screen is as it should be.
func (term terminal) awaitScreen(what string, right func(screen string) bool) {
	term.t.Helper()
	var screen string
	defer func() { term.t.Logf("%s:\n%s", what, screen) }()
	await(term.t, what, func() bool {
		screen = term.tmux("capture-pane", "-p")
		return right(screen)
	})
}

// TestTop watches a daemon by `sandpool top`: a claim, a smaller terminal, a daemon that goes and comes back, and the end.
func TestTop(t *testing.T) {
	cfg := testConfig(t, 1, 2)
	d := start(t, cfg)
	awaitPool(t, d.Client)
	program := realCommand(t)
	term := newTerminal(t, filepath.Dir(cfg.Daemon.Socket), program, "--socket", cfg.Daemon.Socket, "top", "--interval", "100ms")
	defer term.end() // before the daemon's end, which looks for what is left
	shows := func(text string) func(string) bool {
		return func(screen string) bool { return strings.Contains(screen, text) }
	}
	term.awaitScreen("the pool is shown", regexp.MustCompile(`local:default +1 `).MatchString)

	id := claim(t, d.Client, wire.ClaimRequest{}).ID
	row, event, rate := "\n"+id+"  ", regexp.MustCompile(`claimed +`+id+"  "), regexp.MustCompile(`starts/s .*[1-9]`)
	term.awaitScreen("the claim, its event and the start of the next sandbox are shown", func(screen string) bool {
		return strings.Contains(screen, row) && event.MatchString(screen) && rate.MatchString(screen)
	})

	term.tmux("resize-window", "-x", "50", "-y", "20")
	term.awaitScreen("the screen fits the smaller terminal", func(screen string) bool {
		lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
		return len(lines) == 20 && strings.HasPrefix(lines[0], "sandpool top") && strings.HasPrefix(lines[19], "q quit") && strings.HasSuffix(lines[19], "…")
	})

	d.finish(t)
	term.awaitScreen("the daemon is said to be away", shows("NO ANSWER for "))
	start(t, cfg)
	term.awaitScreen("the daemon is said to be back", func(screen string) bool {
		return !strings.Contains(screen, "NO ANSWER") && strings.Contains(screen, "CLAIMS 0-0 of 0")
	})

	term.tmux("send-keys", "q")
	term.awaitScreen("it has ended well", shows("ended with 0"))
}
