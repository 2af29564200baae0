package network

import (
	"crypto/x509"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sandpool/daemon/wire"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

// TestOwnSecrets has requests be sent with a claim's own secret, beside or in place of its template's, and refused when the daemon does not have it.
func TestOwnSecrets(t *testing.T) {
	const mine = "m1ne"
	own := func(header string) Secret { return Secret{Name: "own", Header: header, Value: mine} }
	bound := []egress.Bound{{Name: "own", Hosts: []string{"GOOD.example."}}}
	for _, c := range []struct {
		what  string
		first egress.Policy
		kept  []Secret
		code  int
		want  string
	}{
		{"beside the template's", withSecret("good.example:443")[0], []Secret{own("X-Own")}, 200, `own:["m1ne"] keys:["Key ` + token + `"]`},
		{"in place of the template's", withSecret("good.example")[0], []Secret{own("X-Api-Key")}, 200, `keys:["m1ne"]`},
		{"lost", withSecret("good.example")[0], nil, 403, "which the daemon does not have"},
		{"lost, of a template without", box("good.example:80,443")[0], nil, 403, "sandpool egress bind"},
		{"another one is there", withSecret("*")[0], []Secret{{Name: "other", Header: "X-Own", Value: mine}}, 403, "which the daemon does not have"},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, Options{}, box())
			w.addSecret("good.example", func(rw http.ResponseWriter, r *http.Request) {
				if strings.Contains(c.want, "not have") || !secure(r) {
					t.Errorf("a request without the secret: %s", r.RequestURI)
				}
				_, _ = io.WriteString(rw, strings.ReplaceAll(seen(r, nil), "keys:", "own:"+strings.ReplaceAll(quoteAll(r.Header["X-Own"]), " ", "")+" keys:"))
			})
			for i := range c.kept {
				c.kept[i].Roots = (*w.n.secrets.Load())["token"].Roots
			}
			key := w.n.Keep(c.kept)
			w.set(egress.Layers{c.first, {Bound: bound, Key: key}})
			for via, open := range map[string]func() *door.Stream{"name": w.opens()["name"], "proxy": w.proxy} {
				code, body := asks(t, open(), "GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\nX-Own: theirs\r\n\r\n")
				if code != c.code || !strings.Contains(body, c.want) {
					t.Errorf("by %s: %d %s", via, code, body)
				}
			}
			why, err := w.n.Why(t.Context(), sandboxID, "good.example", 80)
			if err != nil || why.Allowed != (c.code == 200) || c.code != 200 && (why.Kind != egress.KindSecret || !strings.Contains(why.Message, "the secret own")) {
				t.Errorf("why: %+v, %v", why, err)
			}
			var shown wire.Network
			w.n.Describe(sandboxID, &shown)
			last := shown.Secrets[len(shown.Secrets)-1]
			if !last.Own || last.Name != "own" || last.Lost != (c.code != 200) || !slices.Equal(last.Hosts, []string{"good.example"}) {
				t.Errorf("shown %+v", shown.Secrets)
			}
			w.tellsNothing()
			w.n.Drop(key)
			if code, body := asks(t, w.proxy(), "GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n"); code != http.StatusForbidden {
				t.Errorf("after it was dropped: %d %s", code, body)
			}
		})
	}
}

func quoteAll(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	return `["` + strings.Join(list, `","`) + `"]`
}

// TestServerIsBelievedAnew has a connection whose server was believed by a claim's own certificates get no request with a secret of others.
func TestServerIsBelievedAnew(t *testing.T) {
	w := newWorld(t, Options{}, box())
	w.addSecret("good.example", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, seen(r, nil)) })
	template := (*w.n.secrets.Load())["token"]
	w.n.SetSecrets(nil)
	key := w.n.Keep([]Secret{{Name: "own", Header: "X-Own", Value: "m1ne", Roots: template.Roots}})
	w.set(egress.Layers{withSecret("good.example")[0], {Bound: []egress.Bound{{Name: "own", Hosts: []string{"good.example"}}}, Key: key}})
	for _, c := range []struct {
		roots *x509.CertPool
		code  int
	}{{template.Roots.Clone(), 200}, {x509.NewCertPool(), 403}, {nil, 403}} {
		w.n.SetSecrets(nil)
		st := w.connect("good.example", 80)
		if code, body := asks(t, st, "GET / HTTP/1.1\r\nHost: good.example\r\n\r\n"); code != 200 || strings.Contains(body, token) {
			t.Fatalf("%d %s", code, body)
		}
		other := template
		other.Roots = c.roots
		w.n.SetSecrets([]Secret{other})
		code, body := asks(t, st, "GET / HTTP/1.1\r\nHost: good.example\r\n\r\n")
		if code != c.code || strings.Contains(body, token) != (c.code == 200) {
			t.Errorf("%d %s; want %d", code, body, c.code)
		}
	}
}
