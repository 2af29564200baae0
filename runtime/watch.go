package runtime

import (
	"context"
	"fmt"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"sandpool/runtime/call"
)

// Watch calls died for every sandbox whose init or gofer ends, and turned for every one that was paused or resumed, from goroutines of
// its own, until ctx ends. It returns an error when containerd's event stream breaks: what ended since must then be found by a listing.
func (e *Engine) Watch(ctx context.Context, died func(id string, d Death), turned func(ctx context.Context, id string, to Status)) error {
	ctx, cancel := context.WithCancel(ctx)
	g := newWatches(e, died, turned)
	defer g.close()
	defer cancel()
	filter := fmt.Sprintf(`namespace==%q,topic~="^/tasks/(start|oom|exit|paused|resumed)$"`, e.cfg.Namespace)
	events, errs := e.client.EventService().Subscribe(ctx, filter)
	if err := e.watchStarted(ctx, g); err != nil {
		return err
	}
	for {
		select {
		case envelope := <-events:
			if envelope == nil {
				continue
			}
			event, err := typeurl.UnmarshalAny(envelope.Event)
			if err != nil {
				return fmt.Errorf("decode event: %w", err)
			}
			if err := g.see(ctx, event); err != nil {
				return err
			}
		case err := <-errs:
			if context.Cause(ctx) != nil {
				return nil
			}
			if err = call.Native(err); err == nil {
				err = errdefs.ErrUnavailable
			}
			return fmt.Errorf("watch containerd's events: %w", err)
		}
	}
}

// watchStarted watches the sandboxes that there are.
func (e *Engine) watchStarted(ctx context.Context, g *watches) error {
	return e.calls.Do(ctx, e.cfg.PauseTimeout, call.Op{Verb: "list", Object: "containers"}, func(listing context.Context) error {
		found, err := e.client.ContainerService().List(listing)
		if err != nil {
			return err
		}
		var ids []string
		for _, c := range found {
			if idPattern.MatchString(c.ID) {
				ids = append(ids, c.ID)
			}
		}
		return g.watch(ctx, ids...)
	})
}

// see acts on one of containerd's events.
func (g *watches) see(ctx context.Context, event any) error {
	switch event := event.(type) {
	case *eventsapi.TaskOOM:
		g.starved[event.GetContainerID()] = true
	case *eventsapi.TaskStart:
		if idPattern.MatchString(event.GetContainerID()) {
			return g.watch(ctx, event.GetContainerID())
		}
	case *eventsapi.TaskExit:
		// Processes that were exec'd end under the same topic, with an id of their own.
		if id := event.GetContainerID(); event.GetID() == id && idPattern.MatchString(id) {
			g.exited(id, event.GetExitStatus())
		}
	case *eventsapi.TaskPaused:
		g.turn(ctx, event.GetContainerID(), Paused)
	case *eventsapi.TaskResumed:
		g.turn(ctx, event.GetContainerID(), Running)
	}
	return nil
}

func (g *watches) turn(ctx context.Context, id string, to Status) {
	if idPattern.MatchString(id) {
		g.under.Go(func() { g.turned(ctx, id, to) })
	}
}
