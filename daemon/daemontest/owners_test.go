package daemontest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
	"sandpool/runtime/hostproc"
)

// user is a client of another user of the host.
type user struct {
	uid  int
	http *http.Client
}

func newUser(t *testing.T, socket string, uid int) *user {
	t.Helper()
	u := &user{uid: uid, http: &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dialAs(uid, socket) },
	}}}
	t.Cleanup(u.http.CloseIdleConnections)
	return u
}

// dialAs connects from a thread with the user id, which is what the kernel tells the daemon. The thread keeps root's other rights, to
// reach a socket in a folder of root's.
func dialAs(uid int, socket string) (net.Conn, error) {
	fd := -1
	err := hostproc.OnThread(func() error {
		const noFixup = 1 << 2 // SECBIT_NO_SETUID_FIXUP: the thread keeps its capabilities
		err := unix.Prctl(unix.PR_SET_SECUREBITS, noFixup, 0, 0, 0)
		if err == nil {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
				err = errno
			}
		}
		var socketErr error
		fd, socketErr = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err = errors.Join(err, socketErr); err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), socket)
	defer file.Close() //nolint:errcheck // the connection has its own
	return net.FileConn(file)
}

// ask sends a request and returns the answer.
func (u *user) ask(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://sandpool"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := u.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// get asks and decodes the answer, which must be a success.
func get[T any](t *testing.T, u *user, method, path string) (got T) {
	t.Helper()
	status, text := u.ask(t, method, path, "")
	if err := json.Unmarshal([]byte(text), &got); status >= 300 || err != nil {
		t.Fatalf("%s %s as %d: %d %s, %v", method, path, u.uid, status, text, err)
	}
	return got
}

// kinds are the kinds of a user's events behind a cursor, and the cursor of the last.
func (u *user) kinds(t *testing.T, after string) (kinds []string, last string) {
	t.Helper()
	_, text := u.ask(t, http.MethodGet, "/v1/events?after="+after, "")
	for line := range bytes.Lines([]byte(text)) {
		var e wire.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		kinds, last = append(kinds, e.Kind), e.Cursor
	}
	return kinds, last
}

// TestOneUserCostsAnotherNothing has one user save and make events as much as it can: what another has stays.
func TestOneUserCostsAnotherNothing(t *testing.T) {
	cfg := testConfig(t, 2, 2)
	cfg.Daemon.SocketMode = "0666"
	cfg.Checkpoints.MaxCount, cfg.Events.Keep = 3, 6
	d := start(t, cfg)
	attacker, victim := newUser(t, cfg.Daemon.Socket, 1234), newUser(t, cfg.Daemon.Socket, 1235)
	its := get[wire.Claim](t, victim, http.MethodPost, "/v1/claims")
	saved := get[wire.Checkpoint](t, victim, http.MethodPost, "/v1/claims/"+its.ID+"/checkpoint")
	var seen string
	await(t, "its checkpoint is told", func() bool {
		kinds, last := victim.kinds(t, "")
		seen = last
		return strings.Join(kinds, " ") == "claimed checkpoint"
	})
	claim := get[wire.Claim](t, attacker, http.MethodPost, "/v1/claims")
	if its.Owner != "uid:1235" || claim.Owner != "uid:1234" {
		t.Fatalf("the claims are of %s and %s", its.Owner, claim.Owner)
	}
	for range 12 {
		get[wire.Checkpoint](t, attacker, http.MethodPost, "/v1/claims/"+claim.ID+"/checkpoint")
	}
	if list := get[wire.CheckpointList](t, victim, http.MethodGet, "/v1/checkpoints").Checkpoints; len(list) != 1 || list[0].ID != saved.ID {
		t.Errorf("its checkpoints are %+v, want %s", list, saved.ID)
	}
	if list := get[wire.CheckpointList](t, attacker, http.MethodGet, "/v1/checkpoints").Checkpoints; len(list) != 2 {
		t.Errorf("the attacker's checkpoints are %+v, want 2", list)
	}
	await(t, "the attacker is told what it lost", func() bool {
		kinds, _ := attacker.kinds(t, "")
		return strings.Contains(strings.Join(kinds, " "), "checkpoint_deleted checkpoint")
	})
	if kinds, _ := victim.kinds(t, ""); strings.Join(kinds, " ") != "claimed checkpoint" {
		t.Errorf("its events are %q", kinds)
	}
	if kinds, _ := victim.kinds(t, seen); len(kinds) > 0 {
		t.Errorf("it is told of %q, and nothing happened to it", kinds)
	}
	_, text := attacker.ask(t, http.MethodGet, "/metrics", "", "Accept", "application/openmetrics-text; version=1.0.0")
	if strings.Contains(text, its.ID) || !strings.Contains(text, "sandbox_claim_duration_seconds") {
		t.Errorf("the metrics name another's claim, or are none: %s", text)
	}
	checkAlive(t, d.Client, its)
}
