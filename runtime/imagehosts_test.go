package runtime

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/log"
)

func TestARegistryThatAsksForAPause(t *testing.T) {
	e, _ := imageEngine(t, func(p *ImagePolicy) { p.Pull = PullAlways })
	r := newRegistry(t)
	digest := r.push(t, "a:1", newImage(t, goruntime.GOARCH, 1))
	if err := prepare(t.Context(), e, "a", Template{Image: r.host + "/a:1"}); err != nil {
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
	if p, err := e.Prepare(t.Context(), "a", Template{Image: r.host + "/a:1"}); err != nil || p.digest != digest {
		t.Errorf("%v, %+v; want the image that was pulled before", err, p)
	}
	if n := r.asked.Load() - asked; n != 1 {
		t.Errorf("the registry was asked %d times within its pause, want once", n)
	}
}

func TestPauseOf(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for told, want := range map[string]time.Duration{
		"120": 2 * time.Minute, "0": time.Second, "": time.Minute, "soon": time.Minute, "-5": time.Minute, "999999999": time.Hour, "99999999999999999999": time.Minute,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second, "Fri, 02 Jan 2026 03:00:00 GMT": time.Second, "Sat, 02 Jan 2027 03:00:00 GMT": time.Hour,
	} {
		if got := pauseOf(told, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", told, got, want)
		}
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
	e, _ := imageEngine(t, func(p *ImagePolicy) { p.DockerConfig = docker })
	refused(t, e, r.host+"/a:1", "resolve: ", "wants its password sent to "+thief.URL+": ", "images.token_hosts")
	if n := asked.Load(); n != 0 {
		t.Errorf("another host was asked %d times", n)
	}
	for _, test := range []struct {
		registry, realm string
		listed          []string
		want            bool
	}{
		{"https://a.test/v2/", "https://a.test/token", nil, true},
		{"https://a.test:5000/v2/", "https://a.test/token", nil, true},
		{"https://a.test/v2/", "http://a.test/token", nil, false},
		{"https://a.test/v2/", "https://b.test/token", nil, false},
		{"https://a.test/v2/", "https://b.test/token", []string{"b.test"}, true},
		{"https://a.test/v2/", "https://b.test:443/token", []string{"b.test"}, true},
		{"https://a.test/v2/", "https://b.test:8443/token", []string{"b.test"}, false},
		{"https://a.test/v2/", "https://b.test:8443/token", []string{"b.test:8443"}, true},
		{"https://a.test/v2/", "http://b.test/token", []string{"b.test"}, false},
		{"https://registry-1.docker.io/v2/", "https://auth.docker.io/token", nil, true},
		{"https://a.test/v2/", "https://auth.docker.io/token", nil, false},
		{"https://a.test/v2/", "https:///token", nil, false},
		{"http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/token", nil, true},
		{"http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token", nil, false},
		{"https://a.test/v2/", "", nil, false},
	} {
		registry, _ := url.Parse(test.registry)
		realm, _ := url.Parse(test.realm)
		if got := (guarded{listed: test.listed}).trusts(registry, realm); got != test.want {
			t.Errorf("%s with tokens at %s, listed %q: %v", test.registry, test.realm, test.listed, got)
		}
	}
}

func TestRedirectsToPlainHTTPAreRefused(t *testing.T) {
	var asked atomic.Int64
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/x?secret", http.StatusTemporaryRedirect))
	t.Cleanup(secure.Close)
	client := secure.Client()
	client.Transport = watchedTransport{client.Transport, &pauses{}, func() {}}
	resp, err := client.Get(secure.URL)
	if err == nil {
		_ = resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "it redirects from HTTPS to plain HTTP") || asked.Load() != 0 {
		t.Errorf("%v, and the other was asked %d times", err, asked.Load())
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

func TestHeardErrors(t *testing.T) {
	for text, want := range map[string]string{
		`Head "https://u:p@h.test:1/v2/a?sig=x&y=z": no`: `Head "https://h.test:1/v2/a": no`,
		"at http://h/a?x#y and ftp://u@h/b":              "at http://h/a and ftp://h/b",
		"a\x1b[2J\r\n b\x00\u202e":                       `a\x1b[2J b\x00\u202e`,
		"what? a@b # c":                                  "what? a@b # c",
	} {
		if got := (heardError{errors.New(text)}).Error(); got != want {
			t.Errorf("%q is told as %q, want %q", text, got, want)
		}
	}
	if got := (heardError{errors.New(strings.Repeat("é", 5000))}).Error(); len(got) > longestLine+30 || !strings.HasSuffix(got, "bytes more)") {
		t.Errorf("a long error is told in %d bytes: …%s", len(got), got[len(got)-40:])
	}
}
