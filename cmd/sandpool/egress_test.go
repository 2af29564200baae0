package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

// serveNetwork answers for claim c1, whose rules are what was put last.
func (f *fakeDaemon) serveNetwork(mux *http.ServeMux) {
	own := wire.NetworkRules{}
	answer := func(w http.ResponseWriter, r *http.Request, body any) {
		if r.PathValue("id") != "c1" {
			refuse(w, http.StatusNotFound, "not_found", "no such claim")
			return
		}
		reply(w, http.StatusOK, body)
	}
	network := func() wire.Network {
		return wire.Network{
			Mode: "door", Layers: []wire.NetworkLayer{{Of: "template", Learn: true, NetworkRules: wire.NetworkRules{Mode: "door", Preset: []string{"p"}, Allow: []string{"a.test", "*.b.test"}}}, {Of: "claim", NetworkRules: own}},
			Names: []wire.NetworkName{{Name: "a.test", Ports: []int{80, 443}}}, Learned: []string{"x.test:443"}, MaxConnections: 9,
		}
	}
	mux.HandleFunc("GET /v1/claims/{id}/network", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		answer(w, r, network())
	})
	mux.HandleFunc("PUT /v1/claims/{id}/network", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		own = wire.NetworkRules{}
		if err := json.NewDecoder(r.Body).Decode(&own); err != nil {
			f.t.Error(err)
		}
		answer(w, r, network())
	})
	mux.HandleFunc("PUT /v1/claims/{id}/network/secrets", func(w http.ResponseWriter, r *http.Request) {
		var body wire.BoundSecrets
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			f.t.Error(err)
		}
		shown := wire.Network{Mode: "door"}
		for _, s := range body.BoundSecrets {
			shown.Secrets = append(shown.Secrets, wire.NetworkSecret{Name: s.Name, Hosts: s.Hosts, Own: true, Lost: s.Name == "lost"})
		}
		f.bound = body.BoundSecrets
		answer(w, r, shown)
	})
	mux.HandleFunc("GET /v1/claims/{id}/network/why", func(w http.ResponseWriter, r *http.Request) {
		name := r.FormValue("name")
		answer(w, r, wire.NetworkWhy{Name: name, Allowed: name == "a.test", Message: "at port " + r.FormValue("port"), Last: &wire.NetworkEntry{
			Time: time.Unix(0, 0), Result: wire.NetworkClosed, Via: wire.ViaName, Name: name, Port: 443, Address: "203.0.113.1:443", SentBytes: 7, GotBytes: 8, DurationMS: 1500,
		}})
	})
	mux.HandleFunc("GET /v1/claims/{id}/network/log", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, wire.NetworkEntry{Number: 1, Time: time.Unix(1, 0), Result: wire.NetworkDenied, Via: wire.ViaLookup, Name: "e.test", Message: "No rule allows it, of the template or of the claim."})
	})
}

func TestEgress(t *testing.T) {
	f := newFake(t)
	const shown = "mode door\ntemplate presets p\ntemplate allows a.test, *.b.test\ntemplate learns all that is not denied and not special is allowed\n"
	const rest = "names a.test:80,443\nlearned x.test:443\nconnections at most 9"
	for _, c := range []struct {
		command string
		code    int
		want    string // of each line, words
	}{
		{"egress show c1", 0, shown + rest},
		{"egress set c1 --allow a.test --allow b.test:80 --deny c.test --preset p", 0, shown + "claim presets p\nclaim allows a.test, b.test:80\nclaim denies c.test\n" + rest},
		{"egress set c1 --no-network", 0, shown + rest},
		{"egress set c1", 0, shown + rest},
		{"egress why c1 a.test", 0, "allowed at port 443\nlast 1970-01-01"},
		{"egress why c1 e.test:5432", 1, "denied at port 5432\nlast 1970-01-01"},
		{"egress why c1 [2001:db8::1]:22", 1, "denied at port 22\nlast"},
		{"egress log c1", 0, "1970-01-01"},
		{"egress log -f c2", 3, ""},
	} {
		code, out, errOut := f.sandpool(strings.Fields(c.command)...)
		if got := fields(out); code != c.code || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: exit %d\n%s\nwant %d\n%s\n%s", c.command, code, got, c.code, c.want, errOut)
		}
	}
	if _, out, _ := f.sandpool("egress", "why", "c1", "a.test"); !strings.Contains(out, "closed  name     a.test:443 at 203.0.113.1:443  7 bytes out, 8 in, 1.5s") {
		t.Error(out)
	}
	if _, out, _ := f.sandpool("egress", "log", "c1"); !strings.Contains(out, "denied  lookup   e.test  No rule") {
		t.Error(out)
	}
}

// TestEgressLogFollow breaks the connection, starts the daemon again and ends the claim. Each entry is printed once, also of a clock that was set back.
func TestEgressLogFollow(t *testing.T) {
	mux := http.NewServeMux()
	connections := make(chan int, 9)
	mux.HandleFunc("GET /v1/claims/c1/network", func(w http.ResponseWriter, _ *http.Request) {
		if len(connections) == 4 {
			refuse(w, http.StatusNotFound, "not_found", "no such claim")
			return
		}
		reply(w, http.StatusOK, wire.Network{Layers: []wire.NetworkLayer{{Of: "template"}}})
	})
	mux.HandleFunc("GET /v1/claims/c1/network/log", func(w http.ResponseWriter, _ *http.Request) {
		connections <- 1
		entry := func(number uint64, second int64, name string) {
			_ = json.NewEncoder(w).Encode(wire.NetworkEntry{Number: number, Time: time.Unix(second, 0), Name: name})
		}
		switch len(connections) {
		case 1:
			entry(1, 100, "a")
			entry(2, 90, "b")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 2:
			entry(1, 100, "a")
			entry(2, 90, "b")
			entry(3, 95, "c")
		case 3: // of another daemon
			entry(1, 200, "d")
		default:
			refuse(w, http.StatusNotFound, "not_found", "no such claim")
		}
	})
	var out, errOut strings.Builder
	code := run(t.Context(), []string{"--socket", serve(t, mux), "--json", "egress", "log", "-f", "c1"}, strings.NewReader(""), &out, &errOut)
	var names string
	for lines := json.NewDecoder(strings.NewReader(out.String())); lines.More(); {
		var e wire.NetworkEntry
		if err := lines.Decode(&e); err != nil {
			t.Fatal(err)
		}
		names += e.Name
	}
	if code != 0 || names != "abcd" {
		t.Errorf("exit %d, entries %s, %s", code, names, errOut.String())
	}
}

func TestClaimsNarrowByFlags(t *testing.T) {
	f := newFake(t)
	for flags, want := range map[string]string{
		"":                            "null",
		"--no-network":                `{"mode":"none"}`,
		"--allow a.test":              `{"allow":["a.test"]}`,
		"--deny a.test --deny *:22":   `{"deny":["a.test","*:22"]}`,
		"--preset package-registries": `{"preset":["package-registries"]}`,
		"--use-secret api":            `{"secrets":["api"]}`,
		"--max-connections 7 --rate 8 --max-bytes 9": `{"max_connections":7,"rate":8,"max_bytes":9}`,
	} {
		code, _, errOut := f.sandpool(append([]string{"claim"}, strings.Fields(flags)...)...)
		got, err := json.Marshal(f.last.Network)
		if code != 0 || err != nil || string(got) != want {
			t.Errorf("%s: exit %d, %s, %v, %s", flags, code, got, err, errOut)
		}
	}
}

// TestSecretsAreBoundByFlags has secrets come from files and variables, and faults told without them.
func TestSecretsAreBoundByFlags(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	file, ca := filepath.Join(dir, "secret"), filepath.Join(dir, "ca.pem")
	t.Setenv("API_KEY", "t0ken")
	if err := errors.Join(os.WriteFile(file, []byte("t0ken\n"), 0o600), os.WriteFile(ca, []byte("PEM"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ spec, want, err string }{
		{"name=api,host=a.test,host=b.test,header=X-Key,file=" + file, `{"name":"api","hosts":["a.test","b.test"],"header":"X-Key","secret":"t0ken"}`, ""},
		{`name=api,host=a.test,header=Authorization,"value=Bearer {secret}, or so",env=API_KEY`, `{"name":"api","hosts":["a.test"],"header":"Authorization","value":"Bearer {secret}, or so","secret":"t0ken"}`, ""},
		{"name=api,host=a.test,user=me,env=API_KEY,ca=" + ca, `{"name":"api","hosts":["a.test"],"user":"me","secret":"t0ken","ca":"PEM"}`, ""},
		{"name=api,host=a.test,header=X-Key", "", "want file=FILE"},
		{"name=api,host=a.test,header=X-Key,env=API_KEY,file=" + file, "", "want KEY=VALUE"},
		{"name=api,host=a.test,header=X-Key,secret=t0ken", "", `"secret": want KEY=VALUE`},
		{"name=api,host=a.test,header=X-Key,env=NO_SUCH", "", `"NO_SUCH" is not set here`},
		{"name=api,host=a.test,header=X-Key,file=" + dir + "/none", "", "no such file"},
		{"name=api,host=a.test,header=X-Key,env=API_KEY,ca=" + dir + "/none", "", "no such file"},
		{"name", "", "want KEY=VALUE"}, {`"name`, "", "want KEY=VALUE"}, {"", "", "want KEY=VALUE"},
	} {
		for _, command := range [][]string{{"claim"}, {"egress", "bind", "c1"}} {
			f.last, f.bound = wire.ClaimRequest{}, nil
			code, out, errOut := f.sandpool(append(command, "--bind-secret", c.spec)...)
			if c.err != "" {
				if code != 2 || !strings.Contains(errOut, c.err) || strings.Contains(errOut, "t0ken") {
					t.Errorf("%s %s: exit %d, %s", command, c.spec, code, errOut)
				}
				continue
			}
			got, err := json.Marshal(append(f.last.BoundSecrets, f.bound...))
			if code != 0 || err != nil || string(got) != "["+c.want+"]" || strings.Contains(out+errOut, "t0ken") {
				t.Errorf("%s %s: exit %d, %s, %v, %s", command, c.spec, code, got, err, errOut)
			}
		}
	}
	if code, out, _ := f.sandpool("egress", "bind", "c1", "--bind-secret", "name=lost,host=a.test,header=X-Key,env=API_KEY"); code != 0 || !strings.Contains(out, "lost for http://a.test: requests are refused until it is given again") {
		t.Errorf("exit %d, %s", code, out)
	}
	if code, out, _ := f.sandpool("egress", "bind", "c1"); code != 0 || out != "mode  door\n" || f.bound == nil || len(f.bound) > 0 {
		t.Errorf("none: exit %d, %q, %v", code, out, f.bound)
	}
}
