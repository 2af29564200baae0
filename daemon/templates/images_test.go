package templates

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"sandpool/lifetime/wait"
	"sandpool/runtime/checkpoint"
)

func TestImagesOfCheckpointsAreUsed(t *testing.T) {
	p := &Preparer{templates: map[string]*preparation{"default": {}}}
	pruned := make(chan string, 1)
	k := &imageKeeper{
		prune: func(_ context.Context, isTemplate, inUse func(string) bool) error {
			if !isTemplate("default") || isTemplate("gone") {
				t.Error("want the configured template, and no other")
			}
			for _, d := range []string{"saved", "other"} {
				if !inUse(d) {
					pruned <- d
				}
			}
			return errors.New("and so on")
		},
		saved: func() []checkpoint.Manifest {
			return []checkpoint.Manifest{{Compatibility: checkpoint.Compatibility{ImageDigest: "saved"}}}
		},
		loop: wait.NewLoop(), log: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() { k.run(ctx, p.knows, p.uses) })
	for range 2 { // an error does not end it
		k.loop.Wake()
		if got := <-pruned; got != "other" {
			t.Errorf("%s is pruned, want the other", got)
		}
	}
	cancel()
	loop.Wait()
}
