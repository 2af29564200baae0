package daemon

import (
	"log/slog"
	"reflect"
	"testing"
	"time"

	"sandpool/daemon/events"
	"sandpool/daemon/wire"
)

// TestTellVanished tells the end of the one claim that has none, and whose sandbox is not there.
func TestTellVanished(t *testing.T) {
	log, err := events.Open(t.TempDir(), 1000, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	for range 300 { // more than are read at once
		log.Append(wire.Event{Kind: "image_pulled"})
	}
	for _, claim := range []string{"gone", "here", "released", "killed"} {
		log.Append(wire.Event{Kind: "claimed", Claim: "c-" + claim, Sandbox: "sb-" + claim, Pool: "p", Owner: "uid:1"})
	}
	log.Append(wire.Event{Kind: "died", Claim: "c-gone", Sandbox: "sb-gone"}) // its claim was there still
	log.Append(wire.Event{Kind: "released", Claim: "c-released", Sandbox: "sb-released"})
	log.Append(wire.Event{Kind: "killed", Claim: "c-killed", Sandbox: "sb-killed"})
	var told []wire.Event
	for range 2 {
		err := tellVanished(log, func(sandbox string) bool { return sandbox == "sb-here" }, func(n news) {
			e := n.event(time.Now())
			log.Append(e)
			told = append(told, e)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []wire.Event{{
		Kind: "killed", Claim: "c-gone", Sandbox: "sb-gone", Pool: "p", Owner: "uid:1", Message: vanished, Detail: map[string]string{"reason": vanished},
	}}
	if !reflect.DeepEqual(told, want) {
		t.Errorf("told %+v, want %+v", told, want)
	}
}
