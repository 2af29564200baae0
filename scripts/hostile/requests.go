package main

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"

	"sandpool/daemon/wire"
)

// requestAttacks are proper requests for what is another's.
var requestAttacks = []attack{
	{"another's claim, by every route", othersClaim},
	{"another's checkpoint, by every route", othersCheckpoint},
	{"another's events", othersEvents},
	{"another's claim, by odd spellings of its id", oddIDs},
	{"another's request id", othersRequestID},
	{"a request id of two users at once", sharedRequestID},
	{"headers and fields that name another user", borrowedNames},
	{"requests of a browser", browser},
	{"routes of operators", operatorRoutes},
	{"figures out of bounds", oddFigures},
	{"control characters in a comment and a request id", controlCharacters},
}

// refuse sends a request that must not succeed, and must not tell what is the victim's.
func (t *trial) refuse(ctx context.Context, method, path, body string, headers ...string) (answer, error) {
	a, err := t.attacker.do(ctx, method, path, body, headers...)
	if err != nil {
		return a, err
	}
	t.tried()
	if a.status < http.StatusMultipleChoices {
		t.through("%s %s %s was answered %s", method, clip(path), clip(body), a)
	}
	t.tells(a.body, method+" "+path)
	return a, nil
}

// tells notes a text that has in it what only the victim is to know.
func (t *trial) tells(text, where string) {
	for _, own := range []string{t.secret, t.claim.Sandbox, t.victim.owner()} {
		if own != "" && strings.Contains(text, own) && !strings.Contains(where, own) { // what was asked with is no news
			t.through("%s tells %q of the victim", clip(where), own)
		}
	}
}

// askedExec are the headers of an exec.
var askedExec = []string{"Connection: Upgrade", "Upgrade: " + wire.ExecProtocol}

func othersClaim(ctx context.Context, t *trial) error {
	at := "/v1/claims/" + t.claim.ID
	for _, request := range []struct {
		method, path, body string
		headers            []string
	}{
		{method: "GET", path: at},
		{method: "HEAD", path: at},
		{method: "DELETE", path: at},
		{method: "POST", path: at + "/exec", body: `{"args":["cat","` + secretInside + `"]}`, headers: askedExec},
		{method: "POST", path: at + "/exec", body: `{"args":["sh"],"tty":true}`, headers: askedExec},
		{method: "POST", path: at + "/exec", body: `{"args":["/.sandpool/init","connect","22"]}`, headers: askedExec},
		{method: "POST", path: at + "/extend"},
		{method: "POST", path: at + "/checkpoint", body: `{"stop":true}`},
		{method: "POST", path: at + "/fork", body: `{"count":1}`},
	} {
		a, err := t.refuse(ctx, request.method, request.path, request.body, request.headers...)
		if err != nil {
			return err
		}
		if a.status != http.StatusNotFound {
			t.through("%s %s was answered %s: that there is such a claim is told", request.method, request.path, a)
		}
	}
	a, err := t.attacker.do(ctx, "GET", "/v1/claims", "")
	t.tried()
	t.tells(a.body, "the list of claims")
	return err
}

func othersCheckpoint(ctx context.Context, t *trial) error {
	at := "/v1/checkpoints/" + t.saved.ID
	for _, request := range [][3]string{
		{"GET", at}, {"DELETE", at}, {"POST", "/v1/claims", `{"checkpoint":"` + t.saved.ID + `","wait":"20s"}`},
		{"POST", "/v1/claims", `{"checkpoint":"` + t.saved.ID + `","template":"default","request_id":"of-the-victim","wait":"20s"}`},
	} {
		a, err := t.refuse(ctx, request[0], request[1], request[2])
		if err != nil {
			return err
		}
		if a.status != http.StatusNotFound {
			t.through("%s %s was answered %s: that there is such a checkpoint is told", request[0], request[1], a)
		}
	}
	a, err := t.attacker.do(ctx, "GET", "/v1/checkpoints", "")
	t.tried()
	t.tells(a.body, "the list of checkpoints")
	return err
}

func othersEvents(ctx context.Context, t *trial) error {
	for _, query := range []string{"", "?claim=" + t.claim.ID, "?claim=" + t.claim.ID + "&claim=", "?claim=%00", "?claim=*", "?after=0", "?after=-1&claim=" + t.claim.Sandbox, "?owner=" + t.victim.owner()} {
		a, err := t.attacker.do(ctx, "GET", "/v1/events"+query, "")
		if err != nil {
			return err
		}
		t.tried()
		t.tells(a.body, "/v1/events"+query)
	}
	return nil
}

func oddIDs(ctx context.Context, t *trial) error {
	own, err := t.attacker.claim(ctx, `{}`)
	if err != nil {
		return err
	}
	id := t.claim.ID
	for _, odd := range []string{
		id[:len(id)-1], id[:6], strings.ToUpper(id), id + "/", "/" + id, "./" + id, own.ID + "/../" + id, own.ID + "%2f..%2f" + id, "%2e%2e/claims/" + id, id + "%00", id + "%0a", id + ";", id + "?",
		id + "%20", "%63" + id[1:], id + "," + own.ID, t.claim.Sandbox, t.saved.ID, "*", "..", "of-the-victim", own.ID + "?id=" + id, own.ID + "#" + id, id + "%c0%80",
	} {
		for _, method := range []string{"GET", "DELETE"} {
			a, err := t.attacker.do(ctx, method, "/v1/claims/"+odd, "")
			if err != nil {
				return err
			}
			t.tried()
			t.tells(a.body, method+" /v1/claims/"+odd)
		}
	}
	return nil
}

func othersRequestID(ctx context.Context, t *trial) error {
	for _, start := range []string{"any", "cold"} {
		claim, err := t.attacker.claim(ctx, `{"request_id":"of-the-victim","start":"`+start+`"}`)
		if err != nil {
			return err
		}
		t.tried()
		if claim.ID == t.claim.ID || claim.Sandbox == t.claim.Sandbox || claim.Owner != t.attacker.owner() {
			t.through("the victim's request id gave %s of %s to %s", claim.ID, claim.Owner, t.attacker.owner())
		}
		if _, out, err := t.attacker.shell(ctx, claim.ID, "cat "+secretInside); err != nil {
			return err
		} else if strings.Contains(out, t.secret) {
			t.through("the victim's secret is in %s", claim.ID)
		}
	}
	return nil
}

func sharedRequestID(ctx context.Context, t *trial) error {
	var mu sync.Mutex
	given := map[string]string{} // owners by sandbox
	var all sync.WaitGroup
	for i := range 24 {
		u := []*user{t.attacker, t.victim, t.root}[i%3]
		all.Go(func() {
			claim, err := u.claim(ctx, fmt.Sprintf(`{"request_id":"shared-%d","wait":"50s"}`, i/6%2))
			if err != nil {
				return // with the others' it is counted below
			}
			t.tried()
			mu.Lock()
			defer mu.Unlock()
			if other := given[claim.Sandbox]; claim.Owner != u.owner() || other != "" && other != u.owner() {
				t.through("sandbox %s of %s was given to %s, and to %q", claim.Sandbox, claim.Owner, u.owner(), other)
			}
			given[claim.Sandbox] = u.owner()
		})
	}
	all.Wait()
	if len(given) < 3 {
		return fmt.Errorf("only %d sandboxes were given", len(given))
	}
	return nil
}

func borrowedNames(ctx context.Context, t *trial) error {
	for _, header := range []string{
		"X-Forwarded-User: root", "X-Remote-User: root", "Remote-User: root", "X-Forwarded-For: 127.0.0.1", "Authorization: Basic cm9vdDo=", "Sandpool-Owner: " + t.victim.owner(), "X-Sandpool-Uid: 0",
		"Cookie: uid=0", "Forwarded: for=unix;by=root", "X-HTTP-Method-Override: DELETE", "X-Original-URL: /v1/pools/default/drain", "Host: localhost",
	} {
		a, err := t.attacker.do(ctx, "GET", "/v1/claims", "", header)
		if err != nil {
			return err
		}
		t.tried()
		t.tells(a.body, header)
		if _, err := t.refuse(ctx, "GET", "/v1/claims/"+t.claim.ID, "", header); err != nil {
			return err
		}
	}
	for _, field := range []string{`"owner":"` + t.victim.owner() + `"`, `"Owner":"uid:0"`, `"uid":0`, `"template":"default","template":"wide"`, `"Template":"wide"`, `"request_id":null,"claim":"` + t.claim.ID + `"`} {
		if _, err := t.refuse(ctx, "POST", "/v1/claims", "{"+field+"}"); err != nil {
			return err
		}
	}
	return nil
}

func browser(ctx context.Context, t *trial) error {
	for _, header := range []string{"Origin: http://localhost", "Origin: null", "Referer: http://127.0.0.1/", "Origin: http://sandpoold"} {
		for _, request := range [][3]string{{"POST", "/v1/claims", "{}"}, {"GET", "/v1/claims"}, {"GET", "/v1/events"}, {"OPTIONS", "/v1/claims"}} {
			if _, err := t.refuse(ctx, request[0], request[1], request[2], header, "Content-Type: text/plain"); err != nil {
				return err
			}
		}
	}
	return nil
}

func operatorRoutes(ctx context.Context, t *trial) error {
	for _, request := range [][3]string{
		{"PUT", "/v1/pools/default", `{"hold":true}`}, {"PUT", "/v1/pools/wide", `{"max":3000}`}, {"PUT", "/v1/pools/local:default", `{"target":0,"min":0}`}, {"POST", "/v1/pools/default/drain"},
		{"POST", "/v1/pools/default/drain/"}, {"POST", "/v1/templates/default/check"}, {"POST", "/v1/pools/../pools/default/drain"}, {"PATCH", "/v1/pools/default", `{"hold":true}`}, {"TRACE", "/v1/claims"},
		{"CONNECT", "/v1/claims"}, {"POST", "/reload"}, {"GET", "/debug/pprof/"}, {"GET", "/debug/vars"}, {"PUT", "/v1/claims"}, {"GET", "/v1/claims/../../etc/shadow"},
	} {
		if _, err := t.refuse(ctx, request[0], request[1], request[2]); err != nil {
			return err
		}
	}
	var list wire.PoolList
	if err := t.root.get(ctx, "/v1/pools", &list); err != nil {
		return err
	}
	for _, pool := range list.Pools {
		if pool.Hold || path.Base(pool.Name) == "local:default" && pool.Max != 16 || pool.Template == "wide" && pool.Max != wideMost {
			t.through("pool %s was changed: %+v", pool.Name, pool)
		}
	}
	return nil
}

func oddFigures(ctx context.Context, t *trial) error {
	own, err := t.attacker.claim(ctx, `{}`)
	if err != nil {
		return err
	}
	for _, body := range []string{
		`{"lifetime":"106751d"}`, `{"lifetime":"8d"}`, `{"lifetime":"-1s"}`, `{"lifetime":"0s"}`, `{"lifetime":1e300}`, `{"lifetime":"9223372036854775808ns"}`, `{"lifetime":"NaN"}`, `{"wait":"25h"}`, `{"wait":"-1s"}`,
		`{"wait":"1e9h"}`, `{"type":"../short"}`, `{"type":"root"}`, `{"template":"../default"}`, `{"template":"default\u0000"}`, `{"start":"hot"}`, `{"checkpoint":"../../main"}`, `{"checkpoint":"ck-../../../etc"}`,
		`{"request_id":"` + strings.Repeat("a", 129) + `"}`, strings.Repeat("[", 60000), `{"template":` + strings.Repeat("[", 30000), `[{}]`, `{}{}`, `null`, "{\"template\":\"\xff\"}",
	} {
		if _, err := t.refuse(ctx, "POST", "/v1/claims", body); err != nil {
			return err
		}
	}
	for _, body := range []string{`{"count":65}`, `{"count":-1}`, `{"count":1e9}`, `{"count":2147483648}`, `{"lifetime":"365d"}`} {
		if _, err := t.refuse(ctx, "POST", "/v1/claims/"+own.ID+"/fork", body); err != nil {
			return err
		}
	}
	for _, id := range []string{"..%2f..%2fmain", "%2e%2e", "ck-aaaaaaaaaaaaaaa%2f", "..%2f" + t.saved.ID, "ck-%2e%2e%2f%2e%2e%2fmain"} {
		if _, err := t.refuse(ctx, "DELETE", "/v1/checkpoints/"+id, ""); err != nil {
			return err
		}
	}
	return nil
}

func controlCharacters(ctx context.Context, t *trial) error {
	own, err := t.attacker.claim(ctx, `{}`)
	if err != nil {
		return err
	}
	for _, odd := range []string{`\u001b[2J\u001b]0;owned\u0007`, `x\nck-fake  default  1s`, `\u0000`, `\u009b2J`, `\u2028`, `\u202e`, `\r`} {
		if _, err := t.refuse(ctx, "POST", "/v1/claims/"+own.ID+"/checkpoint", `{"comment":"`+odd+`"}`); err != nil {
			return err
		}
		if _, err := t.refuse(ctx, "POST", "/v1/claims", `{"request_id":"`+odd+`"}`); err != nil {
			return err
		}
	}
	for _, list := range []string{"checkpoints", "list", "pools"} {
		_, out, err := t.root.sandpool(ctx, list)
		if err != nil {
			return err
		}
		t.tried()
		if strings.ContainsAny(out, "\x1b\u009b\a\r\u2028\u202e") || strings.Contains(out, "\nck-fake") {
			t.through("`sandpool %s` shows a terminal's commands to root: %s", list, clip(out))
		}
	}
	return nil
}
