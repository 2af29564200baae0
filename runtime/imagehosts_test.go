package runtime

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/log"

	"sandpool/runtime/image"
	"sandpool/runtime/template"
)

func TestARegistryThatAsksForAPause(t *testing.T) {
	e, _ := imageEngine(t, func(p *image.Policy) { p.Pull = image.PullAlways })
	r := newRegistry(t)
	digest := r.push(t, "a:1", newImage(t, goruntime.GOARCH, 1))
	if err := prepare(t.Context(), e, "a", template.Template{Image: r.host + "/a:1"}); err != nil {
		t.Fatal(err)
	}
	r.do(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "120")
		http.Error(w, "too many", http.StatusTooManyRequests)
		return false
	})
	asked := r.asked.Load()
	for _, image := range []string{"/b:1", "/c:1", "/b:1"} {
		refused(t, e, r.host+image, "resolve: ", "registry "+r.host+" answers 429 Too Many Requests: it is asked again after ")
	}
	if p, err := e.Prepare(t.Context(), "a", template.Template{Image: r.host + "/a:1"}); err != nil || p.digest != digest {
		t.Errorf("%v, %+v; want the image that was pulled before", err, p)
	}
	if n := r.asked.Load() - asked; n != 1 {
		t.Errorf("the registry was asked %d times within its pause, want once", n)
	}
}

func TestPasswordsGoToTheirRegistryOnly(t *testing.T) {
	r := newRegistry(t)
	var asked atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.Error(w, "no", http.StatusInternalServerError)
	}))
	t.Cleanup(thief.Close)
	r.do(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+thief.URL+`/token?steal=1",service="x",scope="repository:a:pull"`)
		http.Error(w, "who are you", http.StatusUnauthorized)
		return false
	})
	docker := filepath.Join(t.TempDir(), "config.json")
	write(t, docker, `{"auths": {"`+r.host+`": {"auth": "`+base64.StdEncoding.EncodeToString([]byte("bob:hunter2"))+`"}}}`)
	e, _ := imageEngine(t, func(p *image.Policy) { p.DockerConfig = docker })
	refused(t, e, r.host+"/a:1", "resolve: ", "wants its password sent to "+thief.URL+": ", "images.token_hosts")
	if n := asked.Load(); n != 0 {
		t.Errorf("another host was asked %d times", n)
	}
}

func TestSecretsOfURLsAreNotTold(t *testing.T) {
	r := newRegistry(t)
	r.do(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", "http://bob:PASSWORD@127.0.0.1:1/blob?X-Amz-Signature=SIGNED")
		w.WriteHeader(http.StatusTemporaryRedirect)
		return false
	})
	var logged bytes.Buffer
	old, level := log.L.Logger.Out, log.GetLevel()
	log.L.Logger.SetOutput(&logged)
	t.Cleanup(func() {
		log.L.Logger.SetOutput(old)
		_ = log.SetLevel(level)
	})
	if err := log.SetLevel("trace"); err != nil {
		t.Fatal(err)
	}
	e, _ := imageEngine(t, nil)
	refused(t, e, r.host+"/a:1", "resolve: ", "http://127.0.0.1:1/blob")
	for _, text := range []string{statusOfImage(t, e, r.host+"/a:1").Error, logged.String()} {
		if strings.Contains(text, "SIGNED") || strings.Contains(text, "PASSWORD") {
			t.Errorf("a secret of a URL is told: %s", text)
		}
	}
}
