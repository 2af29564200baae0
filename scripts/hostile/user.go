package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
	"sandpool/runtime/hostproc"
)

// patience is how long an answer that must come may take on a slow machine.
const patience = time.Minute

// user is a user of the host who may connect to the socket.
type user struct {
	uid    int
	host   string // folder of the host
	socket string
	http   *http.Client
}

func newUser(uid int, dir, socket string) *user {
	u := &user{uid: uid, host: dir, socket: socket}
	u.http = &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return u.dial(ctx) },
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return u
}

func (u *user) owner() string { return fmt.Sprintf("uid:%d", u.uid) }

// dial connects as the user: the kernel notes who calls connect.
func (u *user) dial(ctx context.Context) (net.Conn, error) {
	var conn net.Conn
	err := hostproc.OnThread(func() (err error) {
		if err = becomeOnThread(u.uid); err == nil {
			conn, err = (&net.Dialer{}).DialContext(ctx, "unix", u.socket)
		}
		return err
	})
	return conn, err
}

// becomeOnThread makes the calling thread, and no other, a user's.
func becomeOnThread(uid int) error {
	for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, errno := unix.RawSyscall(call, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			return fmt.Errorf("become user %d: %w", uid, errno)
		}
	}
	return nil
}

// answer is what the daemon said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, clip(a.body)) }

// into reads the body as JSON.
func (a answer) into(value any) error {
	if a.status >= http.StatusMultipleChoices {
		refusal := &wire.Error{}
		if err := json.Unmarshal([]byte(a.body), refusal); err != nil {
			return fmt.Errorf("daemon answered %s", a)
		}
		return refusal
	}
	return json.Unmarshal([]byte(a.body), value)
}

func clip(text string) string {
	const most = 200
	text = strings.TrimSpace(text)
	return fmt.Sprintf("%q", text[:min(most, len(text))])
}

// do sends a request with headers, each as "Name: value", and reads the answer.
func (u *user) do(ctx context.Context, method, path, body string, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://sandpoold", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.URL.Opaque = path // as it is
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s as %s: %w", method, clip(path), u.owner(), err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return answer{status: resp.StatusCode, header: resp.Header}, nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

// get is do, of a request that must succeed, into a value.
func (u *user) get(ctx context.Context, path string, value any) error {
	a, err := u.do(ctx, http.MethodGet, path, "")
	if err != nil {
		return err
	}
	return a.into(value)
}

// post is get with a body.
func (u *user) post(ctx context.Context, path, body string, value any) error {
	a, err := u.do(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	return a.into(value)
}

// claim claims a sandbox; body is the request.
func (u *user) claim(ctx context.Context, body string) (wire.Claim, error) {
	var claim wire.Claim
	if err := u.post(ctx, "/v1/claims", body, &claim); err != nil {
		return claim, fmt.Errorf("claim as %s: %w", u.owner(), err)
	}
	return claim, nil
}

func (u *user) claims(ctx context.Context) ([]wire.Claim, error) {
	var list wire.ClaimList
	return list.Claims, u.get(ctx, "/v1/claims", &list)
}

func (u *user) checkpoints(ctx context.Context) ([]wire.Checkpoint, error) {
	var list wire.CheckpointList
	return list.Checkpoints, u.get(ctx, "/v1/checkpoints", &list)
}

// save makes a checkpoint of a claim.
func (u *user) save(ctx context.Context, claim, body string) (wire.Checkpoint, error) {
	var saved wire.Checkpoint
	return saved, u.post(ctx, "/v1/claims/"+claim+"/checkpoint", body, &saved)
}

// say sends bytes on a connection of its own and returns all that comes until the daemon closes it, or nothing has come for a while.
func (u *user) say(ctx context.Context, text string) (string, error) {
	conn, err := u.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // all was read
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil && !isHangUp(err) {
		return "", fmt.Errorf("send: %w", err)
	}
	const quiet = 1500 * time.Millisecond // ends the reading of a connection that is kept; what comes later is not looked for
	var all bytes.Buffer
	for chunk := make([]byte, 32<<10); all.Len() < 1<<20; {
		_ = conn.SetReadDeadline(time.Now().Add(quiet))
		n, err := conn.Read(chunk)
		all.Write(chunk[:n])
		if err != nil {
			break
		}
	}
	return all.String(), nil
}

func isHangUp(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// command is a program of the host that the user runs, in no group but its own.
func (u *user) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(u.uid), Gid: uint32(u.uid)}, //nolint:gosec // small numbers
		Pdeathsig:  syscall.SIGKILL,
	}
	cmd.WaitDelay = time.Second
	return cmd
}

// output runs a shell's text on the host as the user and returns what it printed, whatever its exit code.
func (u *user) output(ctx context.Context, script string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := u.command(ctx, "/bin/sh", append([]string{"-c", script, "sh"}, args...)...).CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); exited && context.Cause(ctx) == nil {
		err = nil
	}
	return string(out), err
}

// sandpool runs the command as the user and returns its exit code and output.
func (u *user) sandpool(ctx context.Context, args ...string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := u.command(ctx, filepath.Join(u.host, "sandpool"), append([]string{"--socket", u.socket}, args...)...)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), string(out), nil
	}
	return 0, string(out), err
}

// unable tells whether an exit code is of a `sandpool exec` that could not run its command.
func unable(code int) bool { return code >= 120 && code <= 125 && code != 124 }

// shell runs a shell's text in a claim's sandbox and returns its exit code and output.
func (u *user) shell(ctx context.Context, claim, script string) (int, string, error) {
	code, out, err := u.sandpool(ctx, "exec", "--no-stdin", claim, "--", "sh", "-c", script)
	if err == nil && unable(code) {
		err = fmt.Errorf("run in %s: %s", claim, clip(out))
	}
	return code, out, err
}
