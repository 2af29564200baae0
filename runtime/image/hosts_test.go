package image

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	m.Run()
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

func TestWhoIsTrustedWithPasswords(t *testing.T) {
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
