package templates

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"sandpool/lifetime/wait"
	"sandpool/runtime/checkpoint"
)

// pruneInterval is the time after which images may have been unused for long enough.
const pruneInterval = time.Hour

// imageKeeper lets images go that nothing uses.
type imageKeeper struct {
	prune func(ctx context.Context, isTemplate, inUse func(string) bool) error
	saved func() []checkpoint.Manifest
	loop  *wait.Loop
	log   *slog.Logger
}

func newImageKeeper(prune func(ctx context.Context, isTemplate, inUse func(string) bool) error, saved func() []checkpoint.Manifest, log *slog.Logger) *imageKeeper {
	return &imageKeeper{prune: prune, saved: saved, loop: wait.NewLoop(), log: log}
}

// run lets go of images whenever its loop is woken, since an image may not be used any more, and now and then, until ctx ends. isTemplate tells whether a template is configured,
// startedFrom whether sandboxes are started from the image of a digest.
func (k *imageKeeper) run(ctx context.Context, isTemplate, startedFrom func(string) bool) {
	inUse := func(digest string) bool { return startedFrom(digest) || k.kept(digest) }
	begun := false
	k.loop.Run(ctx, func() time.Duration {
		if !begun { // nobody has said yet what is used
			begun = true
			return pruneInterval
		}
		if err := k.prune(ctx, isTemplate, inUse); err != nil && context.Cause(ctx) == nil {
			k.log.Warn("unused images could not be deleted; it is tried again", "err", err)
		}
		return pruneInterval
	})
}

// kept tells whether a checkpoint goes on from the image.
func (k *imageKeeper) kept(digest string) bool {
	return slices.ContainsFunc(k.saved(), func(m checkpoint.Manifest) bool { return m.Compatibility.ImageDigest == digest })
}
