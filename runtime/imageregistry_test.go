package runtime

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcrregistry "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"sandpool/runtime/image"
	"sandpool/runtime/template"
)

// testRegistry is a registry of one test, with what may come before it.
type testRegistry struct {
	host  string // and port
	asked atomic.Int64
	// before is asked about each request; it answers itself if it returns false.
	before atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	r := &testRegistry{}
	inner := ggcrregistry.New(ggcrregistry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		if before := r.before.Load(); before == nil || (*before)(w, req) {
			inner.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(server.Close)
	r.host = strings.TrimPrefix(server.URL, "http://")
	return r
}

func (r *testRegistry) do(before func(http.ResponseWriter, *http.Request) bool) {
	r.before.Store(&before)
}

// newImage makes an image of some layers of random files for an architecture.
func newImage(t *testing.T, arch string, layers int) v1.Image {
	t.Helper()
	image := empty.Image
	for range layers {
		layer, err := random.Layer(64<<10, types.DockerLayer)
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			t.Fatal(err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// push gives an image to the registry and returns its digest.
func (r *testRegistry) push(t *testing.T, repository string, image v1.Image) string {
	t.Helper()
	ref, err := name.ParseReference(r.host+"/"+repository, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	return digestOf(t, image)
}

func digestOf(t *testing.T, image interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	d, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestMirrorAndCredentials(t *testing.T) {
	r := newRegistry(t)
	digest := r.push(t, "deep/in:1", newImage(t, goruntime.GOARCH, 1))
	r.do(func(w http.ResponseWriter, req *http.Request) bool {
		user, password, _ := req.BasicAuth()
		if user == "me" && password == "secret" {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		http.Error(w, "who are you", http.StatusUnauthorized)
		return false
	})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "registry.test", "hosts.toml"), "server = \"http://"+r.host+"\"\n[host.\"http://"+r.host+"\"]\ncapabilities = [\"pull\", \"resolve\"]\n")
	docker := filepath.Join(dir, "config.json")
	write(t, docker, `{"auths": {}}`)
	e, _ := imageEngine(t, func(p *image.Policy) { p.HostsDir, p.DockerConfig = dir, docker })
	const ref = "registry.test/deep/in:1"
	refused(t, e, ref, "resolve: ", "authorization failed")
	write(t, docker, `{"auths": {"`+r.host+`": {"auth": "bWU6c2VjcmV0"}}}`)
	p, err := e.Prepare(t.Context(), "good", template.Template{Image: ref})
	if err != nil || p.digest != digest {
		t.Fatalf("%v, %+v; want %s through the mirror", err, p, digest)
	}
	write(t, docker, `{`)
	refused(t, e, "registry.test/other:1", "resolve: ", docker, "images.docker_config")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAPartThatIsDamagedOnItsWayIsPulledAgain(t *testing.T) {
	r := newRegistry(t)
	image := newImage(t, goruntime.GOARCH, 1)
	r.push(t, "a:1", image)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	size, err := layers[0].Size()
	if err != nil {
		t.Fatal(err)
	}
	damaged := digestOf(t, layers[0])
	r.do(func(w http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, damaged) {
			_, _ = w.Write(make([]byte, size))
		}
		return !strings.HasSuffix(req.URL.Path, damaged)
	})
	e, _ := imageEngine(t, nil)
	refused(t, e, r.host+"/a:1", "pull: ", damaged)
	r.do(func(http.ResponseWriter, *http.Request) bool { return true })
	if _, err := e.Prepare(t.Context(), "bad", template.Template{Image: r.host + "/a:1"}); err != nil {
		t.Errorf("once it sends the right one: %v", err)
	}
}

func TestARegistryThatHangsIsGivenUp(t *testing.T) {
	r := newRegistry(t)
	r.push(t, "a:1", newImage(t, goruntime.GOARCH, 1))
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	e, _ := imageEngine(t, func(p *image.Policy) { p.StallTimeout = 2 * time.Second })
	for _, test := range []struct{ part, step string }{{"/v2/", "resolve: "}, {"/blobs/", "pull: "}} {
		r.do(func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, test.part) {
				return true
			}
			if test.part == "/blobs/" {
				_ = http.NewResponseController(w).Flush()
			}
			select {
			case <-over:
			case <-req.Context().Done():
			}
			return false
		})
		refused(t, e, r.host+"/a:1", test.step, "sent nothing for 2s", "images.stall_timeout")
	}
	r.do(func(http.ResponseWriter, *http.Request) bool { return true })
	e.Images().SetPolicy(testConfig(t).Images) // which has more patience
	if _, err := e.Prepare(t.Context(), "bad", template.Template{Image: r.host + "/a:1"}); err != nil {
		t.Errorf("once it answers: %v", err)
	}
}

func TestProgressOfAPull(t *testing.T) {
	r := newRegistry(t)
	made := newImage(t, goruntime.GOARCH, 1)
	r.push(t, "a:1", made)
	layers, err := made.Layers()
	if err != nil {
		t.Fatal(err)
	}
	held := digestOf(t, layers[0])
	asked, answer := make(chan struct{}), make(chan struct{})
	r.do(func(_ http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, held) {
			asked <- struct{}{}
			<-answer
		}
		return true
	})
	e, _ := imageEngine(t, nil)
	ref, done := r.host+"/a:1", make(chan error, 1)
	go func() {
		_, err := e.Prepare(t.Context(), "a", template.Template{Image: ref})
		done <- err
	}()
	select {
	case <-asked:
	case err := <-done:
		t.Fatalf("prepared without its layer: %v", err)
	}
	s := statusOfImage(t, e, ref)
	close(answer)
	if s.State != image.Pulling || s.Layers != 0 || s.LayersTotal != 1 || s.Bytes >= s.BytesTotal || s.BytesTotal < 64<<10 {
		t.Errorf("before its layer is there: %+v", s)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := statusOfImage(t, e, ref); s.State != image.Ready || s.Layers != 1 || s.Bytes != s.BytesTotal {
		t.Errorf("in the end: %+v", s)
	}
}
