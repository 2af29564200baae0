package daemontest

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"sandpool/configs"
	"sandpool/daemon"
	"sandpool/daemon/wire"
)

// push makes an image of random content, gives it to a registry and returns its digest.
func push(t *testing.T, ref string) string {
	t.Helper()
	layer, err := random.Layer(1<<10, types.DockerLayer)
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err == nil {
		image, err = mutate.ConfigFile(image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, RootFS: mustConfig(t, image).RootFS})
	}
	if err != nil {
		t.Fatal(err)
	}
	to, err := name.ParseReference(ref, name.Insecure)
	if err == nil {
		err = remote.Write(to, image, remote.WithContext(t.Context()))
	}
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func mustConfig(t *testing.T, image v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestImagesFromARegistry has a template whose image is pulled, and whose tag moves, beside one whose image is nowhere.
func TestImagesFromARegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	at := strings.TrimPrefix(server.URL, "http://")
	good, none := at+"/good:1", at+"/none:1"
	first := push(t, good)
	cfg := testConfig(t, 1, 4)
	cfg.Images.Pull, cfg.Images.KeepUnused = configs.PullAlways, 0
	cfg.Daemon.MetricsAddress = freeAddress(t)
	cfg.Templates["good"], cfg.Templates["none"] = configs.Template{Image: good}, configs.Template{Image: none}
	reload := make(chan os.Signal, 1)
	d := start(t, cfg, func(o *daemon.Options) {
		o.Reload, o.Load = reload, func() (configs.Config, error) { return cfg, nil }
	})

	claim(t, d.Client, wire.ClaimRequest{})
	pulled := claim(t, d.Client, wire.ClaimRequest{Template: "good"})
	_, err := d.Claim(t.Context(), wire.ClaimRequest{Template: "none"})
	wantError(t, err, "pool_empty")
	if err == nil || !strings.Contains(err.Error(), none) || !strings.Contains(err.Error(), "resolve: ") {
		t.Errorf("claim of an image that is nowhere: %v", err)
	}
	if !strings.Contains(scrape(t, cfg.Daemon.MetricsAddress), "\nsandbox_failed_steps_total{step=\"image\",template=\"none\"} ") {
		t.Error("the failed step is not counted")
	}
	if i := d.image(t, good); i.State != wire.ImageReady || i.Digest != first || i.LayersTotal != 1 {
		t.Errorf("image %+v, want %s ready", i, first)
	}
	if i := d.image(t, none); i.State == wire.ImageReady || i.State == wire.ImageFailed && !strings.Contains(i.Error, "resolve: ") {
		t.Errorf("image %+v, want it failed", i)
	}
	told := ""
	if _, err := d.Events(t.Context(), "", "", false, func(e wire.Event) error {
		told += e.Kind + " " + e.Detail["image"] + "\n"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told, "image_pulled "+good) || strings.Count(told, "image_failed "+none) != 1 {
		t.Errorf("told\n%s", told)
	}

	second := push(t, good)
	reload <- syscall.SIGHUP
	await(t, "the tag's new image is ready", func() bool {
		i := d.image(t, good)
		return i.State == wire.ImageReady && i.Digest == second
	})
	if list := ctr(t, "images", "ls", "-q"); !strings.Contains(list, good+"@"+first) {
		t.Errorf("the image of a claimed sandbox is gone; there are\n%s", list)
	}
	if err := d.Release(t.Context(), pulled.ID); err != nil {
		t.Fatal(err)
	}
	await(t, "its old image is gone", func() bool {
		return !strings.Contains(ctr(t, "images", "ls", "-q"), good+"@"+first)
	})
	if list := ctr(t, "images", "ls", "-q"); !strings.Contains(list, good+"@"+second) {
		t.Errorf("the new image is gone, too; there are\n%s", list)
	}
}

func (r *running) image(t *testing.T, ref string) wire.Image {
	t.Helper()
	list, err := r.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if i.Image == ref {
			return i
		}
	}
	t.Fatalf("no image %s in %+v", ref, list)
	return wire.Image{}
}
