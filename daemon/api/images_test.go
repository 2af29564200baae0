package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/runtime/image"
)

func TestImagesAreListed(t *testing.T) {
	ts := startServer(t)
	pulled := image.Status{
		Ref: "registry.test/a:1", Digest: "sha256:1", State: image.Pulling, Templates: []string{"a"}, Layers: 1, LayersTotal: 3, Bytes: 10,
		BytesTotal: 30, Since: time.Unix(1e9, 0),
	}
	ts.api.Images = func(context.Context) ([]image.Status, error) { return []image.Status{pulled}, nil }
	status, list := ts.images(t)
	if status != http.StatusOK || len(list) != 2 {
		t.Fatalf("status %d, %+v; want the pulled image and that of the template default", status, list)
	}
	if i := list[0]; i.Image != pulled.Ref || i.State != "pulling" || i.Layers != 1 || i.LayersTotal != 3 || i.Bytes != 10 || i.BytesTotal != 30 || i.Digest != "sha256:1" {
		t.Errorf("got %+v", i)
	}
	if i := list[1]; i.Image != "sandpool.local/busybox:1" || i.State != wire.ImageWaiting || strings.Join(i.Templates, " ") != "default" || i.Since != nil {
		t.Errorf("got %+v; want it waiting", i)
	}
	ts.api.Images = func(context.Context) ([]image.Status, error) {
		return nil, errdefs.ErrUnavailable.WithMessage("containerd is away")
	}
	if status, _ := ts.images(t); status != http.StatusServiceUnavailable {
		t.Errorf("without containerd: status %d", status)
	}
}

func (ts *testServer) images(t *testing.T) (int, []wire.Image) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sandpool/v1/images", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := ts.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var list wire.ImageList
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return resp.StatusCode, list.Images
}

func TestTemplatesOfOneImageWaitTogether(t *testing.T) {
	list := withWaiting(nil, map[string]configs.Template{"b": {Image: "x"}, "a": {Image: "x"}, "c": {Image: "w"}})
	if len(list) != 2 || list[0].Image != "w" || strings.Join(list[1].Templates, " ") != "a b" {
		t.Errorf("got %+v", list)
	}
}
