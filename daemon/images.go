package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/runtime"
	"sandpool/runtime/checkpoint"
	"sandpool/runtime/image"
)

// What became of a fetch of an image: these join the pools' kinds of events.
const (
	eventImagePulled = "image_pulled"
	eventImageFailed = "image_failed"
)

// imageEvent is how a fetch of an image ended. It is nobody's claim's.
func imageEvent(s image.Status) wire.Event {
	detail := map[string]string{"image": s.Ref, "templates": strings.Join(s.Templates, ",")}
	if s.Digest != "" {
		detail["digest"] = s.Digest
	}
	if s.State == image.Failed {
		detail["reason"] = s.Error
		return wire.Event{Kind: eventImageFailed, Message: s.Error, Detail: detail}
	}
	detail["bytes"] = strconv.FormatInt(s.BytesTotal, 10)
	return wire.Event{Kind: eventImagePulled, Message: fmt.Sprintf("image %s is %s", s.Ref, s.Digest), Detail: detail}
}

func (a *api) listImages(w http.ResponseWriter, r *http.Request) error {
	known, err := a.images(r.Context())
	if err != nil {
		return unavailable(err)
	}
	who, _ := actorOf(r.Context())
	list := wire.ImageList{Images: withWaiting(known, a.config().Templates)}
	for i, image := range list.Images {
		list.Images[i].Image, list.Images[i].Error = who.image(image.Image), who.reason(image.Error)
	}
	return answerJSON(w, http.StatusOK, list)
}

// withWaiting adds to the images that the runtime knows those of templates whose turn has not come.
func withWaiting(known []image.Status, templates map[string]configs.Template) []wire.Image {
	byRef := map[string]wire.Image{}
	for _, s := range known {
		byRef[s.Ref] = wire.Image{
			Image: s.Ref, Digest: s.Digest, State: string(s.State), Templates: s.Templates, Layers: s.Layers, LayersTotal: s.LayersTotal,
			Bytes: s.Bytes, BytesTotal: s.BytesTotal, Error: s.Error, Since: &s.Since,
		}
	}
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		ref := templates[name].Image
		image, isKnown := byRef[ref]
		if !isKnown {
			image = wire.Image{Image: ref, State: wire.ImageWaiting}
		}
		if image.State == wire.ImageWaiting {
			image.Templates = append(image.Templates, name)
			byRef[ref] = image
		}
	}
	list := make([]wire.Image, 0, len(byRef))
	for _, ref := range slices.Sorted(maps.Keys(byRef)) {
		list = append(list, byRef[ref])
	}
	return list
}

// pruneInterval is the time after which images may have been unused for long enough.
const pruneInterval = time.Hour

// imageKeeper lets images go that nothing uses.
type imageKeeper struct {
	prune     func(ctx context.Context, isTemplate, inUse func(string) bool) error
	templates interface {
		knows(template string) bool
		uses(digest string) bool
	}
	saved func() []checkpoint.Manifest
	due   chan struct{} // one slot
	log   *slog.Logger
}

func newImageKeeper(e *runtime.Engine, templates *preparer, saved func() []checkpoint.Manifest, log *slog.Logger) *imageKeeper {
	return &imageKeeper{prune: e.Images().Prune, templates: templates, saved: saved, due: make(chan struct{}, 1), log: log}
}

// poke says that an image may not be used any more.
func (k *imageKeeper) poke() {
	select {
	case k.due <- struct{}{}:
	default:
	}
}

// run lets go of images whenever poke was called, and now and then, until ctx ends.
func (k *imageKeeper) run(ctx context.Context) {
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.due:
		case <-tick.C:
		}
		if err := k.prune(ctx, k.templates.knows, k.used); err != nil && context.Cause(ctx) == nil {
			k.log.Warn("unused images could not be deleted; it is tried again", "err", err)
		}
	}
}

// used tells whether sandboxes are started from the image, or a checkpoint goes on from it.
func (k *imageKeeper) used(digest string) bool {
	return k.templates.uses(digest) || slices.ContainsFunc(k.saved(), func(m checkpoint.Manifest) bool { return m.Fit.ImageDigest == digest })
}
