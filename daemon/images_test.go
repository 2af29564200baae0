package daemon

import (
	"testing"
	"time"

	"sandpool/runtime/image"
)

func TestImageEvents(t *testing.T) {
	ready := ofImage(image.Status{Ref: "a:1", Digest: "sha256:1", State: image.Ready, Templates: []string{"x", "y"}, BytesTotal: 9}).event(time.Now())
	if ready.Kind != eventImagePulled || ready.Detail["image"] != "a:1" || ready.Detail["digest"] != "sha256:1" || ready.Detail["templates"] != "x,y" || ready.Detail["bytes"] != "9" {
		t.Errorf("got %+v", ready)
	}
	failed := ofImage(image.Status{Ref: "a:1", State: image.Failed, Error: "pull: broken"}).event(time.Now())
	if failed.Kind != eventImageFailed || failed.Detail["reason"] != "pull: broken" || failed.Message != "pull: broken" {
		t.Errorf("got %+v", failed)
	}
	if ready.Owner != "" {
		t.Errorf("it is %s's, want it nobody's: operators alone see it", ready.Owner)
	}
}
