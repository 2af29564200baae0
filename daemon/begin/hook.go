package begin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sandpool/daemon/processes"
	"sandpool/lifetime"
	"sandpool/pool"
	"sandpool/runtime"
	"sandpool/runtime/oneline"
)

// shownWords is how much of what a hook wrote goes into an error, in bytes.
const shownWords = 300

// Hook is a command that a template wants to run in its sandboxes at each claim. Its zero value is none.
type Hook struct {
	Command []string          `json:"command"`
	Timeout lifetime.Duration `json:"timeout"`
}

// Encode returns the text that sandboxes are labelled with; see pool.Source.
func (h Hook) Encode() string {
	if len(h.Command) == 0 {
		return ""
	}
	text, err := json.Marshal(h)
	if err != nil {
		panic(err) // texts and a number
	}
	return string(text)
}

func decode(text string) (h Hook, err error) {
	if err = json.Unmarshal([]byte(text), &h); err == nil && (len(h.Command) == 0 || h.Timeout <= 0) {
		err = fmt.Errorf("%.64q makes no sense", text)
	}
	return h, err
}

// HookError is why the hook of a claim's template failed the claim. Words are the last that it wrote: they are for the claim's owner, and for no log.
type HookError struct{ Template, Reason, Words string }

func (e *HookError) Error() string {
	text := fmt.Sprintf("on_claim of template %q: %s", e.Template, e.Reason)
	if e.Words != "" {
		text += "; it wrote last: " + e.Words
	}
	return text
}

var errLate = errors.New("the hook is late")

// run runs the hook, and returns a *HookError if it does not succeed in time. That tells no value of the secrets.
func (h Hook) run(ctx context.Context, exec func(context.Context, string, runtime.ExecSpec) (processes.Process, error), claim pool.Claim, secrets []string) error {
	limited, cancel := context.WithTimeoutCause(ctx, h.Timeout.Std(), errLate)
	defer cancel()
	hidden := values(secrets)
	stdout, stderr := newEnding(hidden), newEnding(hidden)
	p, err := exec(limited, claim.Sandbox, runtime.ExecSpec{
		Args: h.Command, Given: claim.HasGiven(), Stdout: stdout, Stderr: stderr,
		Env: []string{"SANDPOOL_CLAIM=" + claim.ID, "SANDPOOL_TIER=" + claim.Tier, "SANDPOOL_METADATA=" + cmp.Or(claim.Metadata, "{}")},
	})
	code := 0
	if err == nil {
		code, err = p.Wait(limited)
	}
	why := ""
	switch {
	case err == nil && code == 0:
		return nil
	case err == nil:
		why = fmt.Sprintf("exit code %d", code)
	case context.Cause(ctx) != nil: // the client has gone, or the daemon stops
		return context.Cause(ctx)
	case context.Cause(limited) != nil:
		why = fmt.Sprintf("it did not end within %s (on_claim_timeout)", h.Timeout)
	default:
		why = oneline.Of(err.Error())
	}
	words := strings.TrimSpace(stdout.String() + "\n" + stderr.String())
	return &HookError{claim.SandboxTemplate(), why, oneline.Of(end(words, shownWords))}
}

// end is the end of a text, of so many bytes at most.
func end(text string, most int) string { return text[max(0, len(text)-most):] }
