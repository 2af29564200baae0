package daemon

import (
	"time"

	"sandpool/daemon/events"
	"sandpool/daemon/wire"
	"sandpool/pool"
)

// vanished is why a claim has ended whose container is not there at a start: somebody removed it, or its end was not told any more.
const vanished = "its container was gone when the daemon started"

// tellVanished tells the end of claims of which the log tells a beginning and no end, and whose sandbox is not known after the adoption.
// The labels, the only store, went with the container.
func tellVanished(log *events.Log, knows func(sandbox string) bool, tell func(news)) error {
	open := map[string]wire.Event{}
	for after := ""; ; {
		list, _, err := log.After(after)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			switch e.Kind {
			case pool.EventClaimed:
				open[e.Claim] = e
			case pool.EventReleased, pool.EventKilled:
				delete(open, e.Claim)
			}
		}
		after = list[len(list)-1].Cursor
	}
	for _, e := range open {
		if !knows(e.Sandbox) {
			tell(ofVanished(e))
		}
	}
	return nil
}

// event is the end of a claim whose beginning v is.
func (v ofVanished) event(time.Time) wire.Event {
	return wire.Event{
		Kind: pool.EventKilled, Claim: v.Claim, Sandbox: v.Sandbox, Pool: v.Pool, Owner: v.Owner,
		Message: vanished, Detail: map[string]string{"reason": vanished},
	}
}
