package pause

import (
	"context"

	"github.com/containerd/containerd/v2/core/events"

	"sandpool/runtime/call"
)

// maxEvents is how many events wait for containerd at most; what comes on top is not told.
const maxEvents = 1024

// event is what a shim would tell of a task.
type event struct {
	topic string
	what  events.Event
}

// tell has containerd told of an event, after those before it, and waits for nothing.
func (p *Pauser) tell(e event) {
	select {
	case p.events <- e:
	default:
		p.cfg.Log.Warn("containerd is not told of a pause or a resume: it has not taken those before it", "topic", e.topic)
	}
}

// publish tells containerd of events until the pauser is closed, and then of those that wait. containerd may be away: what it says of
// tasks is right all the same.
func (p *Pauser) publish() {
	for {
		select {
		case e := <-p.events:
			_ = p.pass(context.Background(), e)
		case <-p.life.Done():
			ctx, cancel := context.WithTimeout(context.Background(), call.CleanupTimeout)
			defer cancel()
			for len(p.events) > 0 && p.pass(ctx, <-p.events) == nil {
			}
			return
		}
	}
}

func (p *Pauser) pass(ctx context.Context, e event) error {
	err := p.cfg.Calls.Do(ctx, p.cfg.Timeout, call.Op{Verb: "publish", Object: e.topic}, func(ctx context.Context) error {
		return p.cfg.Client.EventService().Publish(ctx, e.topic, e.what)
	})
	if err != nil {
		p.cfg.Log.Debug("containerd was not told of a pause or a resume", "err", err)
	}
	return err
}
