package daemon

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sandpool/daemon/wire"
	"sandpool/runtime/image"
)

// What became of a fetch of an image: these join the pools' kinds of events.
const (
	eventImagePulled = "image_pulled"
	eventImageFailed = "image_failed"
)

// event is how a fetch of an image ended. It is nobody's claim's.
func (s ofImage) event(time.Time) wire.Event {
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
