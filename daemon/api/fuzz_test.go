package api

import (
	"context"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

// FuzzAPI sends any body to any route that reads one, and to any path. The parts behind the API are fakes that do not fail, so
// an answer of 500 or more is a fault of the API's own.
func FuzzAPI(f *testing.F) {
	for _, seed := range [][3]string{
		{"POST", "/v1/claims", `{"template": "default", "wait": "1s", "lifetime": "7d", "request_id": "a", "fallback": true, "start": "any"}`},
		{"POST", "/v1/claims/" + deadID + "/exec", `{"args": ["sh"], "env": ["A=1"], "cwd": "/", "tty": true, "rows": 1, "cols": 65535}`},
		{"PUT", "/v1/pools/default", `{"min": 0, "target": 1, "max": 2, "scale_up_threshold": 70, "scale_down_threshold": 30, "hot": 1, "adaptive": true, "hold": false}`},
		{"PUT", "/v1/pools/default", `{"target": 9223372036854775807}`},
		{"PUT", "/v1/pools/local%3Adefault", `{"max": 1e3}`},
		{"POST", "/v1/pools/:/drain", `null`},
		{"DELETE", "/v1/claims/" + deadID, ``},
		{"GET", "/v1/claims/c-%00", `[]`},
		{"POST", "//", "{} {}"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(method, " \r\n\t\x00") || strings.ContainsAny(path, " \r\n") || method == "" {
			return // net/http refuses it long before
		}
		ts := newTestAPI(t)
		delete(ts.claims.claims, runningID) // an exec in it would take over the connection, and there is none
		delete(ts.claims.claims, othersID)
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", strings.NewReader(body))
		u, err := r.URL.Parse("http://sandpool" + path)
		if err != nil {
			return // so too
		}
		r.Method, r.URL = method, u
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", wire.ExecProtocol)
		r = r.WithContext(context.WithValue(r.Context(), actorKey{}, actor{uid: uint32(os.Geteuid())}))
		w := deadlineRecorder{httptest.NewRecorder()}
		ts.api.routes().ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%s %s %q: %d %s", method, path, body, w.Code, w.Body)
		}
	})
}

// deadlineRecorder is a recorder that takes deadlines, as a connection does.
type deadlineRecorder struct{ *httptest.ResponseRecorder }

func (deadlineRecorder) SetReadDeadline(time.Time) error { return nil }

func (deadlineRecorder) SetWriteDeadline(time.Time) error { return nil }
