package runtime

import (
	"context"
	"net/http"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ocidigest "github.com/opencontainers/go-digest"

	"sandpool/runtime/image"
	"sandpool/runtime/template"
)

func all(string) bool { return true }

func nothing(string) bool { return false }

// imageEngine opens an engine whose policy change may alter, and with what it told.
func imageEngine(t *testing.T, change func(*image.Policy)) (*Engine, *[]image.Status) {
	t.Helper()
	cfg, told := testConfig(t), &[]image.Status{}
	cfg.Fetched = func(s image.Status) { *told = append(*told, s) }
	cfg.Images.KeepUnused = 0
	if change != nil {
		change(&cfg.Images)
	}
	e := openEngine(t, cfg)
	*told = nil
	t.Cleanup(func() { // what this test fetched is in nobody's way
		if err := e.Images().Prune(context.WithoutCancel(t.Context()), nothing, nothing); err != nil {
			t.Error(err)
		}
	})
	return e, told
}

func statusOfImage(t *testing.T, e *Engine, ref string) image.Status {
	t.Helper()
	list, err := e.Images().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Ref == ref {
			return s
		}
	}
	t.Fatalf("no status of %s in %+v", ref, list)
	return image.Status{}
}

// refused prepares a template of an image that cannot be used, and looks for words in the error.
func refused(t *testing.T, e *Engine, ref string, want ...string) {
	t.Helper()
	_, err := e.Prepare(t.Context(), "bad", template.Template{Image: ref})
	for _, words := range append([]string{`template "bad"`, ref}, want...) {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("prepare %s: %v; want %q in it", ref, err, words)
		}
	}
	if s := statusOfImage(t, e, ref); err != nil && (s.State != image.Failed || !strings.Contains(err.Error(), s.Error) || s.Error == "") {
		t.Errorf("status %+v, want that it failed with %v", s, err)
	}
}

func (e *Engine) in(t *testing.T) context.Context {
	return namespaces.WithNamespace(t.Context(), e.cfg.Namespace)
}

// collect runs containerd's garbage collection.
func collect(t *testing.T, e *Engine) {
	t.Helper()
	manager := e.client.LeasesService()
	l, err := manager.Create(e.in(t), leases.WithID("test-collect"))
	if err == nil {
		err = manager.Delete(e.in(t), l, leases.SynchronousDelete)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnImageIsPulledOnce(t *testing.T) {
	e, told := imageEngine(t, nil)
	r := newRegistry(t)
	digest, ref := r.push(t, "a/b:1", newImage(t, goruntime.GOARCH, 3)), r.host+"/a/b:1"
	p, err := e.Prepare(t.Context(), "one", template.Template{Image: ref})
	if err != nil {
		t.Fatal(err)
	}
	if p.digest != digest || p.image != ref+"@"+digest {
		t.Errorf("made from %s, %s; want it pinned to %s", p.image, p.digest, digest)
	}
	s := statusOfImage(t, e, ref)
	if s.State != image.Ready || s.Digest != digest || s.Layers != 3 || s.LayersTotal != 3 || s.Bytes < 3*64<<10 || s.Bytes != s.BytesTotal || len(s.Templates) != 1 {
		t.Errorf("status %+v", s)
	}
	asked := r.asked.Load()
	if _, err := e.Prepare(t.Context(), "two", template.Template{Image: ref}); err != nil {
		t.Fatal(err)
	}
	if r.asked.Load() != asked || len(*told) != 1 || (*told)[0].State != image.Ready {
		t.Errorf("%d more questions to the registry, told %+v; want none and one pull", r.asked.Load()-asked, *told)
	}
	if s := statusOfImage(t, e, ref); strings.Join(s.Templates, " ") != "one two" {
		t.Errorf("templates %q", s.Templates)
	}
}

func TestATagThatMoved(t *testing.T) {
	for _, pull := range []string{image.PullMissing, image.PullAlways} {
		t.Run(pull, func(t *testing.T) {
			e, _ := imageEngine(t, func(p *image.Policy) { p.Pull = pull })
			r := newRegistry(t)
			ref := r.host + "/moved:1"
			first := r.push(t, "moved:1", newImage(t, goruntime.GOARCH, 1))
			if err := prepare(t.Context(), e, "a", template.Template{Image: ref}); err != nil {
				t.Fatal(err)
			}
			second := r.push(t, "moved:1", newImage(t, goruntime.GOARCH, 1))
			want := map[string]string{image.PullMissing: first, image.PullAlways: second}[pull]
			p, err := e.Prepare(t.Context(), "a", template.Template{Image: ref})
			if err != nil || p.digest != want {
				t.Fatalf("%v, made from %s; want %s", err, p.digest, want)
			}
			if err := e.Images().Prune(t.Context(), all, func(d string) bool { return d == first }); err != nil {
				t.Fatal(err)
			}
			collect(t, e)
			if _, err := e.Images().Pinned(e.in(t), ref, first); err != nil {
				t.Errorf("the first image: %v", err)
			}
			if err := e.Images().Prune(t.Context(), all, func(d string) bool { return d == p.digest }); err != nil {
				t.Fatal(err)
			}
			_, err = e.client.ImageService().Get(e.in(t), ref+"@"+first)
			if gone := err != nil; gone != (pull == image.PullAlways) {
				t.Errorf("after its use the first image: %v", err)
			}
		})
	}
}

func TestARegistryThatIsAway(t *testing.T) {
	e, _ := imageEngine(t, func(p *image.Policy) { p.Pull = image.PullAlways })
	r := newRegistry(t)
	digest := r.push(t, "a:1", newImage(t, goruntime.GOARCH, 1))
	if err := prepare(t.Context(), e, "a", template.Template{Image: r.host + "/a:1"}); err != nil {
		t.Fatal(err)
	}
	r.do(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "away", http.StatusBadGateway)
		return false
	})
	if p, err := e.Prepare(t.Context(), "a", template.Template{Image: r.host + "/a:1"}); err != nil || p.digest != digest {
		t.Errorf("%v, %+v; want the image that was pulled before", err, p)
	}
	refused(t, e, r.host+"/b:1", "resolve: ")
}

func TestAFailedPullLeavesTheOldImage(t *testing.T) {
	e, told := imageEngine(t, func(p *image.Policy) { p.Pull = image.PullAlways })
	r := newRegistry(t)
	ref := r.host + "/a:1"
	r.push(t, "a:1", newImage(t, goruntime.GOARCH, 1))
	if err := prepare(t.Context(), e, "bad", template.Template{Image: ref}); err != nil {
		t.Fatal(err)
	}
	r.push(t, "a:1", newImage(t, goruntime.GOARCH, 1))
	r.do(func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/blobs/") {
			http.Error(w, "broken", http.StatusNotFound)
		}
		return !strings.Contains(req.URL.Path, "/blobs/")
	})
	refused(t, e, ref, "pull: ")
	refused(t, e, ref, "pull: ")
	if len(*told) != 2 || (*told)[1].State != image.Failed {
		t.Errorf("told %+v; want the first pull and one failure", *told)
	}
	if err := e.Images().Prune(t.Context(), all, func(d string) bool { return d == prepared["bad"].digest }); err != nil {
		t.Fatal(err)
	}
	collect(t, e)
	expectSnapshot(t, e, "bad", true)
}

// expectSnapshot looks for the snapshot that sandboxes of a template in use are made from.
func expectSnapshot(t *testing.T, e *Engine, template string, want bool) {
	t.Helper()
	_, err := e.client.SnapshotService(e.cfg.Snapshotter).Stat(e.in(t), prepared[template].parent)
	if got := err == nil; got != want {
		t.Errorf("the snapshot of template %s: %v; want it there: %v", template, err, want)
	}
}

func TestForeignImagesAreRefused(t *testing.T) {
	e, _ := imageEngine(t, nil)
	r := newRegistry(t)
	const foreign = "riscv64"
	r.push(t, "plain:1", newImage(t, foreign, 1))
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: newImage(t, foreign, 1), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: foreign}},
	})
	ref, err := name.ParseReference(r.host+"/index:1", name.Insecure)
	if err == nil {
		err = remote.WriteIndex(ref, index)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := "it is for linux/" + foreign + ", this host is linux/" + goruntime.GOARCH
	refused(t, e, r.host+"/plain:1", "check: ", want)
	refused(t, e, r.host+"/index:1", "pull: ", want)
	if _, err := e.client.ImageService().Get(e.in(t), r.host+"/index:1"); err == nil {
		t.Error("the foreign index has a name")
	}
}

func TestImagesThatAreNotPulled(t *testing.T) {
	e, _ := imageEngine(t, nil)
	refused(t, e, "sandpool.local/none:1", "not in containerd", "in no registry", "images import")
	refused(t, e, "UPPER case", "its reference is none")
	e.Images().SetPolicy(image.Policy{Pull: image.PullNever, PullTimeout: time.Minute, StallTimeout: time.Minute})
	refused(t, e, "registry.test/none:1", "not in containerd", `images.pull is "never"`)
}

func TestAMissingBlobIsPulledAgain(t *testing.T) {
	e, told := imageEngine(t, nil)
	r := newRegistry(t)
	made := newImage(t, goruntime.GOARCH, 2)
	r.push(t, "a:1", made)
	ref := r.host + "/a:1"
	p, err := e.Prepare(t.Context(), "bad", template.Template{Image: ref})
	if err != nil {
		t.Fatal(err)
	}
	layers, err := made.Layers()
	if err != nil {
		t.Fatal(err)
	}
	lost := digestOf(t, layers[1])
	lose := func() {
		t.Helper()
		err := e.client.ContentStore().Delete(e.in(t), ocidigest.Digest(lost))
		if err == nil {
			// Without its snapshot the image needs the layer.
			err = e.client.SnapshotService(e.cfg.Snapshotter).Remove(e.in(t), p.parent)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lose()
	if _, err := e.Prepare(t.Context(), "bad", template.Template{Image: ref}); err != nil || len(*told) != 2 {
		t.Fatalf("%v, told %+v; want a second pull", err, *told)
	}
	lose()
	e.Images().SetPolicy(image.Policy{Pull: image.PullNever, PullTimeout: time.Minute, StallTimeout: time.Minute})
	refused(t, e, ref, "check: its layer "+lost)
}

func TestLiveImagesStayAndUnusedOnesGo(t *testing.T) {
	e, _ := imageEngine(t, nil)
	r := newRegistry(t)
	for _, n := range []string{"live:1", "unused:1", "saved:1"} {
		r.push(t, n, newImage(t, goruntime.GOARCH, 1))
		if err := prepare(t.Context(), e, n[:len(n)-2], template.Template{Image: r.host + "/" + n}); err != nil {
			t.Fatal(err)
		}
	}
	unused, saved := prepared["unused"], prepared["saved"]
	service := e.client.ImageService()
	if _, err := service.Create(e.in(t), images.Image{Name: "another's:1", Target: mustGet(t, e, unused.image).Target}); err != nil {
		t.Fatal(err)
	}
	// Whoever removes the names does not remove what pools are made from.
	for _, n := range []string{r.host + "/live:1", prepared["live"].image} {
		if err := service.Delete(e.in(t), n, images.SynchronousDelete()); err != nil {
			t.Fatal(err)
		}
	}
	isTemplate := func(name string) bool { return name == "live" || name == "default" }
	if err := e.Images().Prune(t.Context(), isTemplate, func(d string) bool { return d == saved.digest || d == prepared["live"].digest }); err != nil {
		t.Fatal(err)
	}
	collect(t, e)
	expectSnapshot(t, e, "live", true)
	if _, err := e.Images().Pinned(e.in(t), r.host+"/saved:1", saved.digest); err != nil {
		t.Errorf("the image of a checkpoint: %v", err)
	}
	if _, err := service.Get(e.in(t), unused.image); err == nil {
		t.Error("the unused image is still there")
	}
	if _, err := service.Get(e.in(t), "another's:1"); err != nil {
		t.Errorf("the name that somebody else gave: %v", err)
	}
	if err := service.Delete(e.in(t), "another's:1", images.SynchronousDelete()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.client.SnapshotService(e.cfg.Snapshotter).Stat(e.in(t), unused.parent); err == nil {
		t.Error("the unused image's snapshot is still there")
	}
}

func mustGet(t *testing.T, e *Engine, name string) images.Image {
	t.Helper()
	i, err := e.client.ImageService().Get(e.in(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}
