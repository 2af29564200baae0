package main

import (
	"net/http"
	"strings"
	"testing"

	"sandpool/daemon/wire"
)

// images answers with one image that makes a step each time it is asked for.
func (f *fakeDaemon) images(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := wire.Image{Image: "registry.test/a:1", State: "pulling", Templates: []string{"a", "b"}, Layers: 1, LayersTotal: 3, Bytes: 1500000, BytesTotal: 30000000}
	if f.asked++; f.asked > 1 {
		i.State, i.Error, i.Digest = f.imageEnds, "", "sha256:0123456789abcdef"
	}
	if i.State == wire.ImageFailed {
		i.Error = "image registry.test/a:1: pull: broken"
	}
	reply(w, http.StatusOK, wire.ImageList{Images: []wire.Image{i}})
}

func TestImages(t *testing.T) {
	f := newFake(t)
	code, out, errOut := f.sandpool("images")
	want := "IMAGE              STATE    LAYERS              FETCHED  DIGEST  TEMPLATES\nregistry.test/a:1  pulling     1/3  1.4 MiB of 28.6 MiB  –       a,b\n"
	if code != 0 || out != want {
		t.Errorf("exit code %d, %s\n%s\nwant\n%s", code, errOut, out, want)
	}
	f.imageEnds = wire.ImageReady
	if code, out, _ := f.sandpool("images", "--json"); code != 0 || !strings.Contains(out, `"digest": "sha256:0123456789abcdef"`) {
		t.Errorf("exit code %d, %s", code, out)
	}
}

func TestImagesAreWatchedToTheEnd(t *testing.T) {
	for state, wantCode := range map[string]int{wire.ImageReady: 0, wire.ImageFailed: 1} {
		f := newFake(t)
		f.imageEnds = state
		code, out, errOut := f.sandpool("images", "-w")
		first, second := strings.Index(out, "pulling"), strings.Index(out, state)
		if code != wantCode || first < 0 || second < first || f.asked != 2 {
			t.Errorf("%s: exit code %d after %d questions, %s\n%s", state, code, f.asked, errOut, out)
		}
		if state == wire.ImageFailed && (!strings.Contains(out, "pull: broken") || !strings.Contains(errOut, "not ready: registry.test/a:1")) {
			t.Errorf("%s\n%s; want why and which", errOut, out)
		}
	}
}
