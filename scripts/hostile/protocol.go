package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
)

// wireAttacks are bytes that are no proper requests.
var wireAttacks = []attack{
	{"requests inside the bodies of others", smuggling},
	{"abuse of the upgrade", upgrades},
	{"frames that no client sends", oddFrames},
	{"headers, bodies and arguments that are huge", hugeRequests},
	{"files passed along with requests", passedFiles},
	{"answers that nobody reads", unreadAnswers},
}

// smuggling sends bodies with another request in them, whose end client and daemon may see in different places.
func smuggling(ctx context.Context, t *trial) error {
	inner := func(n int) string {
		body := fmt.Sprintf(`{"request_id":"smuggled-%d","wait":"0s"}`, n)
		return fmt.Sprintf("POST /v1/claims HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	const post = "POST /v1/claims/none/extend HTTP/1.1\r\nHost: s\r\n"
	for n, form := range []func(in string) string{
		func(in string) string {
			return fmt.Sprintf("%sContent-Length: %d\r\nContent-Length: 0\r\n\r\n%s", post, len(in), in)
		},
		func(in string) string { return fmt.Sprintf("%sContent-Length: 0, %d\r\n\r\n%s", post, len(in), in) },
		func(in string) string { return fmt.Sprintf("%sContent-Length: +%d\r\n\r\n%s", post, len(in), in) },
		func(in string) string { return fmt.Sprintf("%sContent-Length: -1\r\n\r\n%s", post, in) },
		func(in string) string { return fmt.Sprintf("%sContent-Length : %d\r\n\r\n%s", post, len(in), in) },
		func(in string) string { return fmt.Sprintf("%sContent-Length: 0x%x\r\n\r\n%s", post, len(in), in) },
		func(in string) string {
			return fmt.Sprintf("%sContent-Length: 18446744073709551616\r\n\r\n%s", post, in)
		},
		func(in string) string {
			return fmt.Sprintf("%sContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", post, len(in)+5, in)
		},
		func(in string) string { return post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + in },
		func(in string) string { return post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + in },
		func(in string) string { return post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + in },
		func(in string) string {
			return post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + in
		},
		func(in string) string { return post + "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n" + in },
		func(in string) string { return post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + in },
		func(in string) string { return post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n" + in },
		func(in string) string { return post + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + in },
		func(in string) string { return post + "X: y\r\n Content-Length: 0\r\n\tz\r\n: empty\r\n\r\n" + in },
		func(in string) string { return post + "X\x00: y\r\n\r\n" + in },
		func(in string) string { return "GET /v1/claims HTTP/0.9\r\n\r\n" + in },
		func(in string) string { return "GET /v1/claims\r\n" + in },
		func(in string) string { return "GET /v1/claims HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + in },
		func(in string) string { return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + in },
		func(in string) string {
			return fmt.Sprintf("%sExpect: 200-maybe\r\nContent-Length: 5\r\n\r\n%s", post, in)
		},
		func(in string) string { return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", post, len(in), in) },
	} {
		if _, err := t.attacker.say(ctx, form(inner(n))); err != nil {
			return err
		}
		t.tried()
	}
	claims, err := t.root.claims(ctx)
	for _, claim := range claims {
		if strings.HasPrefix(claim.RequestID, "smuggled-") {
			t.through("the request %s inside another was answered with %s", claim.RequestID, claim.ID)
		}
	}
	return err
}

func upgrades(ctx context.Context, t *trial) error {
	own, err := t.attacker.claim(ctx, `{}`)
	if err != nil {
		return err
	}
	const body = `{"args":["true"]}`
	mine, others := "/v1/claims/"+own.ID+"/exec", "/v1/claims/"+t.claim.ID+"/exec"
	request := func(method, path, version, headers string) string {
		return fmt.Sprintf("%s %s HTTP/%s\r\nHost: s\r\n%sContent-Length: %d\r\n\r\n%s", method, path, version, headers, len(body), body)
	}
	var all errgroup.Group
	upgrade := func(to string) string { return "Connection: Upgrade\r\nUpgrade: " + to + "\r\n" }
	for _, text := range []string{
		request("POST", others, "1.1", upgrade(wire.ExecProtocol)),
		request("POST", mine+"/../../"+t.claim.ID+"/exec", "1.1", upgrade(wire.ExecProtocol)),
		request("GET", mine, "1.1", upgrade(wire.ExecProtocol)),
		request("POST", mine, "1.1", upgrade("websocket")),
		request("POST", mine, "1.1", upgrade("h2c")),
		request("POST", mine, "1.1", "Upgrade: "+wire.ExecProtocol+"\r\n"),
		request("POST", mine, "1.1", "Connection: keep-alive\r\nUpgrade: "+wire.ExecProtocol+"\r\n"),
		request("POST", "/v1/claims", "1.1", upgrade(wire.ExecProtocol)),
		request("POST", "/v1/claims/"+own.ID, "1.1", upgrade(wire.ExecProtocol)),
		request("GET", "/v1/events", "1.1", upgrade("h2c")+"HTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
	} {
		all.Go(func() error {
			answer, err := t.attacker.say(ctx, text)
			if err != nil {
				return err
			}
			t.tried()
			t.tells(answer, text)
			if strings.HasPrefix(answer, "HTTP/1.1 101") {
				t.through("%s was upgraded", clip(text))
			}
			return nil
		})
	}
	return all.Wait()
}

// openExec starts a command in a claim's sandbox and returns the connection, on which frames go.
func (u *user) openExec(ctx context.Context, claim string, args ...string) (net.Conn, *bufio.Reader, error) {
	body, err := json.Marshal(wire.ExecRequest{Args: args})
	if err != nil {
		return nil, nil, err
	}
	conn, err := u.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err = fmt.Fprintf(conn, "POST /v1/claims/%s/exec HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: %d\r\n\r\n%s", claim, wire.ExecProtocol, len(body), body)
	in := bufio.NewReader(conn)
	if err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(in, nil); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusSwitchingProtocols {
				err = fmt.Errorf("exec was answered %s", resp.Status)
			}
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, in, nil
}

// oddFrames sends each to a command that waits, and then looks that the daemon took neither memory nor another's command for it.
func oddFrames(ctx context.Context, t *trial) error {
	own, before, err := t.opening(ctx)
	if err != nil {
		return err
	}
	head := func(kind byte, size uint32, payload string) string {
		return string(binary.BigEndian.AppendUint32([]byte{kind}, size)) + payload
	}
	for _, frame := range []string{
		head(0, 1<<32-1, ""), head(0, wire.MaxFrame+1, strings.Repeat("x", wire.MaxFrame+1)), head(200, 1, "x"), head(5, 4, "\x00\x00\x00\x00"), head(6, 2, "{}"), head(1, 3, "out"), head(2, 3, "err"),
		head(3, 0, ""), head(3, 4, "\xff\xff\xff\xff"), head(3, 1, "x"), head(4, 0, ""), head(4, 1, "\x00"), head(4, 1, "\xff"), head(4, 2, "\x09\x09"), head(0, 100, "short"), "\x00\x00",
		"GET /v1/claims HTTP/1.1\r\nHost: s\r\n\r\n",
	} {
		conn, in, err := t.attacker.openExec(ctx, own.ID, "sh", "-c", "cat >/dev/null; echo ended")
		if err != nil {
			return err
		}
		_, _ = io.WriteString(conn, frame) // the daemon may hang up meanwhile
		t.tried()
		if unixConn, ok := conn.(*net.UnixConn); ok {
			_ = unixConn.CloseWrite()
		}
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, in); errors.Is(err, os.ErrDeadlineExceeded) {
			t.through("a command is still held after the frame %s", clip(frame))
		}
		_ = conn.Close()
	}
	return t.grown(before)
}

// memory is how much the daemon holds, in bytes.
func (g *ground) memory() (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.daemon.Pid()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.Atoi(fields[1])
			return kib << 10, err
		}
	}
	return 0, errors.New("the daemon's status has no VmRSS")
}

// most is by how much an attack may make the daemon grow.
const most = 96 << 20

// opening is how attacks on the daemon's memory begin: with a claim of the attacker's, and with what the daemon takes before.
func (t *trial) opening(ctx context.Context) (own wire.Claim, before int, err error) {
	if own, err = t.attacker.claim(ctx, `{}`); err != nil {
		return own, 0, err
	}
	before, err = t.memory()
	return own, before, err
}

// grown notes a daemon that took much memory since before.
func (t *trial) grown(before int) error {
	now, err := t.memory()
	if err == nil && now-before > most {
		t.through("the daemon grew from %d to %d MiB", before>>20, now>>20)
	}
	return err
}

func hugeRequests(ctx context.Context, t *trial) error {
	own, before, err := t.opening(ctx)
	if err != nil {
		return err
	}
	const mib = 1 << 20
	exec := "POST /v1/claims/" + own.ID + "/exec HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: " + wire.ExecProtocol + "\r\n"
	for _, text := range []string{
		"GET /v1/claims HTTP/1.1\r\nHost: s\r\nX: " + strings.Repeat("a", 4*mib) + "\r\n\r\n",
		"GET /v1/claims HTTP/1.1\r\nHost: s\r\n" + strings.Repeat("X: a\r\n", 100_000) + "\r\n",
		"GET /v1/claims?" + strings.Repeat("a&", mib) + " HTTP/1.1\r\nHost: s\r\n\r\n",
		strings.Repeat("G", 4*mib),
		fmt.Sprintf("POST /v1/claims HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n{%s", 1<<40, strings.Repeat(" ", 4*mib)),
		"POST /v1/claims HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\n{" + strings.Repeat(" ", 16*mib-1) + "\r\n0\r\n\r\n",
		"POST /v1/claims HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n2" + strings.Repeat(";a=b", 100_000) + "\r\n{}\r\n0\r\n\r\n",
		fmt.Sprintf(exec+"Content-Length: %d\r\n\r\n{\"args\":[\"%s", 64*mib, strings.Repeat("a", 16*mib)),
		fmt.Sprintf(exec+"Content-Length: %d\r\n\r\n{\"args\":[%s\"\"]}", 4*mib+3+9, strings.Repeat(`"",`, (4*mib)/3)),
	} {
		answer, err := t.attacker.say(ctx, text)
		if err != nil {
			return err
		}
		t.tried()
		if strings.HasPrefix(answer, "HTTP/1.1 2") || strings.HasPrefix(answer, "HTTP/1.1 101") {
			t.through("%s of %d bytes was answered %s", clip(text), len(text), clip(answer))
		}
	}
	return t.grown(before)
}

// files is how many files the daemon has open.
func (g *ground) files() (int, error) {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.daemon.Pid()))
	return len(open), err
}

// passedFiles sends open files beside the bytes of requests, as SCM_RIGHTS: each that the daemon took would stay open there.
func passedFiles(ctx context.Context, t *trial) error {
	before, err := t.files()
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close() //nolint:errcheck // it was not written
	fds := make([]int, 100)
	for i := range fds {
		fds[i] = int(null.Fd())
	}
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	for range 8 {
		conn, err := t.attacker.dial(ctx)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		text := "GET /healthz HTTP/1.1\r\nHost: s\r\n\r\n"
		if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte(text), unix.UnixRights(fds...), nil); err != nil {
			return fmt.Errorf("pass files: %w", err)
		}
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil { //nolint:bodyclose // the connection is closed
			return err
		}
		t.tried()
	}
	now, err := t.files()
	if err == nil && now > before+len(conns)+50 {
		t.through("the daemon had %d files open and has %d", before, now)
	}
	return err
}

// unreadAnswers lets a command write for ever to a client that reads nothing, and asks for answers that it does not take.
func unreadAnswers(ctx context.Context, t *trial) error {
	own, before, err := t.opening(ctx)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for range 4 {
		conn, _, err := t.attacker.openExec(ctx, own.ID, "cat", "/dev/zero")
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // nothing was read
		t.tried()
	}
	for range 40 {
		conn, err := t.attacker.dial(ctx)
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // nothing was read
		all.Go(func() {
			_ = conn.SetWriteDeadline(time.Now().Add(3 * time.Second))
			_, _ = io.WriteString(conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: s\r\n\r\n", 2000)) // until its buffer is full
		})
		t.tried()
	}
	all.Wait()
	t.served(ctx)
	return t.grown(before)
}

// served notes when the victim or root is not answered.
func (t *trial) served(ctx context.Context) {
	for _, u := range []*user{t.victim, t.root} {
		ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Second, errors.New("there was no answer in 15 s"))
		if a, err := u.do(ctx, "GET", "/v1/claims/"+t.claim.ID, ""); err != nil || a.status != http.StatusOK {
			t.through("%s is not served meanwhile: %s, %v", u.owner(), a, err)
		}
		cancel()
	}
}
