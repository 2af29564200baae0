package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
	"sandpool/runtime/hostproc"
)

func TestActorSees(t *testing.T) {
	for _, tc := range []struct {
		who   actor
		owner string
		want  bool
	}{
		{actor{uid: 0}, "uid:4242", true},
		{actor{uid: 4242}, "uid:4242", true},
		{actor{uid: 4242}, "uid:0", false},
		{actor{uid: 4242}, "uid:42", false},
		{actor{uid: 4242}, "", false},
	} {
		if got := tc.who.sees(tc.owner); got != tc.want {
			t.Errorf("%+v sees %q: %t", tc.who, tc.owner, got)
		}
	}
}

// TestOthersClaims calls as another user: what belongs to the daemon's user must not seem to exist.
func TestOthersClaims(t *testing.T) {
	ts := startServer(t)
	if err := errors.Join(os.Chmod(filepath.Dir(ts.socket), 0o755), os.Chmod(ts.socket, 0o666)); err != nil { // so that the other user gets in
		t.Fatal(err)
	}
	ts.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialAs(ctx, 4242, ts.socket)
	}}
	checkError(t, ts.do(t, "GET", "/v1/claims/"+runningID, ""), 404, "not_found", "does not exist or has ended")
	checkError(t, ts.do(t, "DELETE", "/v1/claims/"+runningID, ""), 404, "not_found", "does not exist or has ended")
	checkError(t, ts.do(t, "POST", "/v1/claims/"+runningID+"/exec", `{"args": ["true"]}`, upgradeLines()...), 404, "not_found", "does not exist or has ended")
	for _, verb := range []string{"extend", "checkpoint", "fork"} {
		checkError(t, ts.do(t, "POST", "/v1/claims/"+runningID+"/"+verb, ""), 404, "not_found", "does not exist or has ended")
	}
	checkError(t, ts.do(t, "POST", "/v1/claims", `{"checkpoint": "`+savedID+`"}`), 404, "not_found", "does not exist")
	for _, method := range []string{"GET", "DELETE"} {
		checkError(t, ts.do(t, method, "/v1/checkpoints/"+savedID, ""), 404, "not_found", "does not exist")
	}
	var saved wire.CheckpointList
	if err := json.Unmarshal([]byte(ts.do(t, "GET", "/v1/checkpoints", "").body), &saved); err != nil {
		t.Fatal(err)
	}
	if len(saved.Checkpoints) != 1 || saved.Checkpoints[0].ID != othersSavedID {
		t.Errorf("checkpoints are %+v, want only the caller's own", saved.Checkpoints)
	}
	if got := ts.do(t, "GET", "/v1/claims/"+othersID, ""); got.status != http.StatusOK {
		t.Errorf("own claim: %+v", got)
	}
	var list wire.ClaimList
	if err := json.Unmarshal([]byte(ts.do(t, "GET", "/v1/claims", "").body), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Claims) != 1 || list.Claims[0].ID != othersID {
		t.Errorf("list has %+v, want only the caller's own claim", list.Claims)
	}
	if got := ts.do(t, "POST", "/v1/claims", ""); got.status != http.StatusCreated || ts.claims.last.Owner != "uid:4242" {
		t.Errorf("claim for %s: %+v", ts.claims.last.Owner, got)
	}
}

// TestOthersMayNotOperate is about those who are neither root nor the daemon's user.
func TestOthersMayNotOperate(t *testing.T) {
	ts := startServer(t)
	for _, path := range []string{"PUT /v1/pools/default", "POST /v1/pools/default/drain", "POST /v1/templates/default/check"} {
		method, path, _ := strings.Cut(path, " ")
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), actorKey{}, actor{uid: 4242}), method, path, strings.NewReader(`{"hold": true}`))
		w := httptest.NewRecorder()
		ts.api.routes().ServeHTTP(w, r)
		checkError(t, answer{w.Code, w.Header(), w.Body.String()}, 403, "permission_denied", "only root and the daemon's own user")
	}
	if size := ts.sizes.get(); size.Hold {
		t.Errorf("the pool was changed: %+v", size)
	}
}

// dialAs connects as another user.
func dialAs(ctx context.Context, uid uintptr, socket string) (conn net.Conn, err error) {
	err = hostproc.OnThread(func() (err error) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
			return errno
		}
		conn, err = new(net.Dialer).DialContext(ctx, "unix", socket)
		return err
	})
	return conn, err
}
