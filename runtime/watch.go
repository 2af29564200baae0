package runtime

import (
	"context"
	"fmt"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
)

// Watch calls died for every sandbox whose init ends, until ctx ends. It returns an error when containerd's event
// stream breaks: what ended since must then be found by a listing.
func (e *Engine) Watch(ctx context.Context, died func(id, reason string)) error {
	filter := fmt.Sprintf(`namespace==%q,topic==%q`, e.cfg.Namespace, "/tasks/exit")
	events, errs := e.client.EventService().Subscribe(ctx, filter)
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
			// Processes that were exec'd end under the same topic, with an id of their own.
			if exit, ok := event.(*eventsapi.TaskExit); ok && exit.GetID() == exit.GetContainerID() && idPattern.MatchString(exit.GetContainerID()) {
				died(exit.GetContainerID(), exitReason(exit.GetExitStatus()))
			}
		case err := <-errs:
			if context.Cause(ctx) != nil {
				return nil
			}
			if err = native(err); err == nil {
				err = errdefs.ErrUnavailable
			}
			return fmt.Errorf("watch containerd's events: %w", err)
		}
	}
}

// exitReason explains the exit status of an init, which is 128 and a signal's number when a signal ended it.
func exitReason(status uint32) string {
	switch {
	case status == 128:
		return "its sentry ended (exit status 128): it was killed or crashed"
	case status == 137:
		return "its init was killed (exit status 137): by hand, by its memory limit, or with its sentry"
	case status > 128:
		return fmt.Sprintf("its init was ended by signal %d (exit status %d)", status-128, status)
	default:
		return fmt.Sprintf("its init exited with status %d", status)
	}
}
