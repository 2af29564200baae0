package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sandpool/scripts/faults/journal"
)

// steps are the moments at which a crash of the daemon is tried. A test finds those that are missing here.
var steps = []string{
	"claim reserved", "claim labelled", "claim resumed", "claim begun", "claim fulfilled",
	"extend begun", "extend labelled", "stage warned labelled", "stage grace labelled",
	"pause locked", "pause done", "resume locked", "resume done",
	"rest labelled", "rest paused", "wake resumed", "wake labelled",
	"suspend saved", "suspend labelled", "suspend halted", "halted", "revived",
	"checkpoint written", "checkpoint renamed", "checkpoint deleted",
	"give begun", "claim given", "supervisor plugged", "process asked", "process started", "input sent", "input taken", "output taken",
	"door plugged", "network labelled",
	"file asked", "file begun", "file sent", "file ended", "file answered",
	"restore created", "restore started", "release begun", "release labelled", "release destroyed",
	"refill started", "refill paused", "refill labelled",
	"heat labelled", "heat resumed", "drain begun",
	"container created", "snapshot prepared", "task created", "task started",
	"task forsaken", "sentry killed", "task deleted", "container deleted",
}

// crashTimeout is how long a step may take to come.
const crashTimeout = time.Minute

// crashAtStep starts the daemon anew so that it kills itself at a step, and starts it once more.
func crashAtStep(ctx context.Context, r *rig, round int) error {
	step := r.steps[round]
	causes := causesOf(step)
	times := 1 + r.rng.IntN(4)
	if len(causes) > 0 {
		times = 1 + r.rng.IntN(2) // these take longer
	}
	fmt.Printf("%-16s at %q, time %d\n", "crash", step, times)
	if err := r.arm(step, times); err != nil {
		return err
	}
	if r.rng.IntN(4) == 0 { // it may crash as it starts
		if err := r.restart(ctx); err != nil {
			return err
		}
	}
	stop := r.client.Close
	if !quiet(step) {
		stop = r.load(ctx)
	}
	turn := r.rng.IntN(max(1, len(causes)))
	crashed := await(ctx, crashTimeout, func(ctx context.Context) bool {
		select {
		case <-r.daemon.Done():
			return true
		default:
		}
		if len(causes) > 0 {
			causes[turn%len(causes)](r, ctx)
			turn++
		}
		return false
	})
	stop()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if !crashed {
		r.out.note("the daemon never came to the step %q", step)
		r.daemon.Kill()
	}
	if err := os.Remove(r.crashFile()); err != nil {
		return err
	}
	r.repaired = time.Now()
	return r.start(ctx)
}

// arm has the daemon kill itself at a step, the nth time from now on that it comes to it.
func (r *rig) arm(step string, nth int) error {
	next := r.crashFile() + ".new" // the daemon may look at any moment
	if err := os.WriteFile(next, fmt.Appendf(nil, "%s:%d", step, nth), 0o600); err != nil {
		return err
	}
	return os.Rename(next, r.crashFile())
}

// crashFile is where the daemon reads at which step it must crash.
func (r *rig) crashFile() string { return filepath.Join(r.host.Dir, "crash") }

// killDaemon kills the daemon at a random moment under load.
func killDaemon(ctx context.Context, r *rig, _ int) error {
	stop := r.load(ctx)
	pause(ctx, r.chance(500*time.Millisecond, 4*time.Second))
	r.daemon.Kill()
	stop()
	r.repaired = time.Now()
	return r.start(ctx)
}

// restart ends the daemon with SIGKILL, which keeps its sandboxes, and starts it. It waits until the daemon listens or has
// crashed already.
func (r *rig) restart(ctx context.Context) error {
	r.client.Close()
	r.daemon.Kill()
	if err := r.spawn(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.daemon.AwaitSocket(ctx, r.socket); err != nil {
		select {
		case <-r.daemon.Done():
		default:
			return err
		}
	}
	return nil
}

// tell sends a request that must not be refused. That there is no answer does not matter: the daemon may crash on it.
func (r *rig) tell(ctx context.Context, method, path, body string) {
	resp, err := r.request(ctx, method, path, body)
	if err != nil {
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		r.out.note("%s %s %s: %s", method, path, body, resp.Status)
	}
}

// leastCrashes is how often the daemon crashed at the step at which it did so least often.
func (s scenario) leastCrashes(j *journal.Journal) int {
	crashes := make([]int, len(s.steps))
	for _, line := range j.Of(s.name) {
		if line.Round != journal.NoRound && line.Faults == 0 {
			crashes[line.Round%len(crashes)]++
		}
	}
	return slices.Min(crashes)
}
