package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sandpool/daemon/wire"
)

// noted is the claim that a request names, whose body it notes; false when there is none, which is then the answer.
func (f *fakeDaemon) noted(w http.ResponseWriter, r *http.Request) (wire.Claim, bool) {
	body, _ := io.ReadAll(r.Body)
	f.changed = r.Method + " " + r.URL.Path + " " + string(body)
	c, ok := f.claims[r.PathValue("id")]
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "no such claim")
	}
	return c, ok
}

// extend allows one extension.
func (f *fakeDaemon) extend(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.noted(w, r)
	switch {
	case !ok:
	case c.Extended > 0:
		refuse(w, http.StatusConflict, "conflict", "all 1 extensions are used")
	default:
		c.Extended, c.Extensions, c.ExpiresAt = 1, 1, c.ExpiresAt.Add(time.Hour)
		f.claims[c.ID] = c
		reply(w, http.StatusOK, c)
	}
}

func (f *fakeDaemon) checkpoint(w http.ResponseWriter, r *http.Request) {
	if f.saving != nil {
		f.saving()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.noted(w, r)
	if !ok {
		return
	}
	saved := wire.Checkpoint{
		ID: fmt.Sprintf("ck%d", len(f.saved)+1), CreatedAt: time.Now().Add(-5 * time.Hour), Claim: c.ID, Template: c.Template, Owner: c.Owner,
		Trigger: "request", Comment: "my note", Parent: "ck0", Bytes: 3 << 19,
	}
	f.saved = append(f.saved, saved)
	f.savings++
	reply(w, http.StatusCreated, saved)
}

func (f *fakeDaemon) fork(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.noted(w, r); ok {
		reply(w, http.StatusCreated, wire.ClaimList{Claims: []wire.Claim{{ID: c.ID + "-a"}, {ID: c.ID + "-b"}}})
	}
}

func (f *fakeDaemon) checkpoints(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply(w, http.StatusOK, wire.CheckpointList{Checkpoints: append([]wire.Checkpoint{}, f.saved...)})
}

func (f *fakeDaemon) deleteCheckpoint(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.saved)
	f.saved = slices.DeleteFunc(f.saved, func(c wire.Checkpoint) bool { return c.ID == r.PathValue("id") })
	if len(f.saved) == before {
		refuse(w, http.StatusNotFound, "not_found", "no such checkpoint")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func TestExtend(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	for _, want := range []struct {
		code        int
		out, errOut string
	}{
		{exitOK, "c1 ends in 2h; 1 of 1 extensions used\n", ""},
		{exitError, "", "sandpool: all 1 extensions are used\n"},
	} {
		code, out, errOut := f.sandpool("extend", id)
		if code != want.code || out != want.out || errOut != want.errOut || f.changed != "POST /v1/claims/c1/extend {}" {
			t.Errorf("exit %d, stdout %q, stderr %q after %s; want %+v", code, out, errOut, f.changed, want)
		}
	}
}

// TestSaving looks at what the commands that save a claim ask for, and at what they print: ids alone.
func TestSaving(t *testing.T) {
	f := newFake(t)
	f.claimOne()
	for _, test := range []struct{ command, asks, prints string }{
		{"checkpoint c1", "POST /v1/claims/c1/checkpoint {}", "ck1\n"},
		{"checkpoint --stop --comment before c1", `POST /v1/claims/c1/checkpoint {"stop":true,"comment":"before"}`, "ck2\n"},
		{"fork c1", `POST /v1/claims/c1/fork {"count":1}`, "c1-a\nc1-b\n"},
		{"fork -n 2 c1 --type cicd --lifetime 10m", `POST /v1/claims/c1/fork {"count":2,"type":"cicd","lifetime":"10m0s"}`, "c1-a\nc1-b\n"},
	} {
		code, out, errOut := f.sandpool(strings.Fields(test.command)...)
		if code != 0 || out != test.prints || errOut != "" || f.changed != test.asks {
			t.Errorf("%s: exit %d, stdout %q, stderr %q, asked for %s; want %q and %s", test.command, code, out, errOut, f.changed, test.prints, test.asks)
		}
	}
	code, out, _ := f.sandpool("--json", "fork", "c1")
	var list wire.ClaimList
	if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || len(list.Claims) != 2 {
		t.Errorf("--json fork: exit %d, %v, %s", code, err, out)
	}
}

func TestCheckpoints(t *testing.T) {
	f := newFake(t)
	const head = "ID TEMPLATE AGE SIZE TRIGGER CLAIM PARENT OWNER COMMENT"
	if code, out, errOut := f.sandpool("checkpoints"); code != 0 || out != "" || !strings.HasPrefix(errOut, "no checkpoints") {
		t.Errorf("none: exit %d\n%s%s", code, out, errOut)
	}
	id := f.claimOne()
	for range 3 {
		if code, _, errOut := f.sandpool("checkpoint", id); code != 0 {
			t.Fatal(errOut)
		}
	}
	want := head
	for _, saved := range []string{"ck1", "ck2", "ck3"} {
		want += "\n" + saved + " default 5h 1.5 MiB request c1 ck0 0 my note"
	}
	if code, out, _ := f.sandpool("checkpoints"); code != 0 || fields(out) != want {
		t.Errorf("exit %d\n%s\nwant\n%s", code, out, want)
	}
	code, out, errOut := f.sandpool("checkpoints", "rm", "ck1", "x", "ck3")
	if code != exitNotFound || out != "ck1\nck3\n" || errOut != "sandpool: delete x: no such checkpoint\n" || len(f.saved) != 1 {
		t.Errorf("rm: exit %d, stdout %q, stderr %q, %d left; want 1", code, out, errOut, len(f.saved))
	}
	if code, out, _ := f.sandpool("--json", "checkpoints", "rm", "ck2"); code != 0 || strings.Join(strings.Fields(out), "") != `{"deleted":["ck2"]}` {
		t.Errorf("rm --json: exit %d, %s", code, out)
	}
}
