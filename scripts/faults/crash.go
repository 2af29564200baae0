package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// steps are the moments at which a crash of the daemon is tried. A test finds those that are missing here.
var steps = []string{
	"claim reserved", "claim labelled", "claim resumed",
	"release begun", "release labelled", "release destroyed",
	"refill started", "refill paused", "refill labelled",
	"heat labelled", "heat resumed", "drain begun",
	"lease created", "snapshot prepared", "container created", "task created", "task started",
	"sentry killed", "task deleted", "container deleted",
}

// crashTimeout is how long a step may take to come.
const crashTimeout = 30 * time.Second

// crashAtStep starts the daemon anew so that it kills itself at a step, and starts it once more.
func crashAtStep(ctx context.Context, r *rig, round int) error {
	step := steps[round]
	fmt.Printf("%-16s at %q\n", "crash", step)
	if err := r.restart(ctx, fmt.Sprintf("SANDPOOL_CRASH=%s:%d", step, 1+r.rng.IntN(4))); err != nil {
		return err
	}
	stop := r.load(ctx)
	turn := 0
	crashed := await(ctx, crashTimeout, func(ctx context.Context) bool {
		select {
		case <-r.daemon.Done():
			return true
		default:
			r.provoke(ctx, step, turn)
			turn++
			return false
		}
	})
	stop()
	if !crashed {
		r.out.note("the daemon never came to the step %q", step)
		r.daemon.Kill()
	}
	r.mended = time.Now()
	return r.start(ctx)
}

// killDaemon kills the daemon at a random moment under load.
func killDaemon(ctx context.Context, r *rig, _ int) error {
	stop := r.load(ctx)
	pause(ctx, r.chance(500*time.Millisecond, 4*time.Second))
	r.daemon.Kill()
	stop()
	r.mended = time.Now()
	return r.start(ctx)
}

// restart ends the daemon with SIGKILL, which keeps its sandboxes, and starts it with an addition to its environment.
// It waits until the daemon listens or has crashed already.
func (r *rig) restart(ctx context.Context, env string) error {
	r.client.Close()
	r.daemon.Kill()
	if err := r.spawn(env); err != nil {
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

// provoke makes the pool do what claims and releases alone do not lead to. The sizes hold until the daemon starts anew.
func (r *rig) provoke(ctx context.Context, step string, turn int) {
	const pool = "/v1/pools/default"
	switch {
	case strings.HasPrefix(step, "heat"):
		r.tell(ctx, http.MethodPut, pool, fmt.Sprintf(`{"target": %d, "hot": %d}`, 2*r.target, turn%2*r.target))
		pause(ctx, 2*time.Second)
	case strings.HasPrefix(step, "drain"):
		r.tell(ctx, http.MethodPost, pool+"/drain", "")
		pause(ctx, 200*time.Millisecond)
		r.tell(ctx, http.MethodPut, pool, fmt.Sprintf(`{"hold": false, "target": %d}`, r.target))
	}
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
