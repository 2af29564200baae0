package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sandpool/daemon/events"
	"sandpool/daemon/wire"
)

// EventLog is where the API finds events; see events.Log.
type EventLog interface {
	After(cursor string) (list []wire.Event, more <-chan struct{}, err error)
	Last() string
}

var _ EventLog = (*events.Log)(nil)

// view is what a request wants to see of the log.
type view struct {
	after  string // cursor
	follow bool
	claim  string // empty: all
	who    actor
	whole  time.Time // when it was asked for all that is kept, if it was
}

func (a *api) listEvents(w http.ResponseWriter, r *http.Request) error {
	v, err := a.view(r)
	if err != nil {
		return err
	}
	if v.follow {
		leave, err := a.crowd.followers.take(v.who)
		if err != nil {
			return err
		}
		defer leave()
	}
	list, more, err := a.Events.After(v.after)
	if err != nil {
		return invalid("after: %v", err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set(wire.CursorHeader, v.after)
	for after := v.after; ; list, more, err = a.Events.After(after) {
		if err == nil {
			err = sendLines(w, v.of(list))
		}
		if err != nil { // an answer that has begun cannot tell; who follows comes again with its last cursor
			a.Log.Debug("events could not be sent", "err", err)
			return nil
		}
		if len(list) > 0 {
			after = list[len(list)-1].Cursor
			continue
		}
		if !v.follow || !a.wait(r.Context(), more) {
			return nil
		}
	}
}

// wait returns true when there are more events, and false when the answer is to end.
func (a *api) wait(ctx context.Context, more <-chan struct{}) bool {
	select {
	case <-more:
		return true
	case <-ctx.Done():
	case <-a.Stopping:
	}
	return false
}

func (a *api) view(r *http.Request) (view, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return view{}, invalid("query: %v", err)
	}
	who, _ := actorOf(r.Context())
	v := view{who: who}
	for key, values := range query {
		value := values[len(values)-1]
		switch key {
		case "after":
			v.after = value
		case "claim":
			v.claim = value
			if value != "" && !claimID.MatchString(value) {
				return view{}, invalid("claim: %q is not the id of a claim", value)
			}
		case "follow":
			if v.follow, err = strconv.ParseBool(value); err != nil {
				return view{}, invalid("follow: %q: want true or false", value)
			}
		default:
			return view{}, invalid("query: unknown parameter %q", key)
		}
	}
	switch v.after {
	case wire.AfterNow:
		v.after = a.Events.Last()
	case "":
		v.whole = time.Now()
	}
	return v, nil
}

// of returns what the view shows of events.
func (v view) of(list []wire.Event) (shown []wire.Event) {
	for _, e := range list {
		if e.Kind == events.KindGap && v.misses(e) || e.Kind != events.KindGap && v.who.sees(e.Owner) && (v.claim == "" || v.claim == e.Claim) {
			shown = append(shown, e)
		}
	}
	return shown
}

// misses tells whether events that a gap stands for may have been for the view: who asks for all that is kept misses nothing that was lost before.
func (v view) misses(gap wire.Event) bool {
	return (gap.Owner == events.Everybody || v.who.sees(gap.Owner)) && (v.whole.IsZero() || gap.Time.After(v.whole))
}

// sendLines sends values, each as a line of JSON, or with none the headers alone.
func sendLines[V any](w http.ResponseWriter, list []V) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	for _, v := range list {
		if err := encoder.Encode(v); err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
