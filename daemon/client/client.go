// Package client speaks sandpoold's API over its unix socket.
//
// A Client claims sandboxes, and works in them by the ids of claims: Exec runs a command as if it ran here, StartProcess one that outlives its
// client, Files reads and writes, and Checkpoint and Fork keep and copy what a sandbox is at a moment. The bodies are those of package wire.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os/user"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
)

// Client is a connection to one sandpoold. The zero value uses the default socket; all methods may be called at once.
//
// An answer that is not a success is a *wire.Error; a daemon that does not listen is an *UnreachableError.
type Client struct {
	// Socket is the path of the daemon's socket; empty means wire.DefaultSocket.
	Socket string

	once sync.Once
	http *http.Client
}

// base stands for the daemon in URLs: only the path matters on a unix socket.
const base = "http://sandpoold"

// keepConns is how many connections are kept for reuse, enough for a benchmark's concurrent callers.
const keepConns = 32

// Claim claims a sandbox.
func (c *Client) Claim(ctx context.Context, req wire.ClaimRequest) (wire.Claim, error) {
	var claim wire.Claim
	return claim, c.call(ctx, http.MethodPost, "/v1/claims", req, &claim)
}

// Get returns a claim.
func (c *Client) Get(ctx context.Context, id string) (wire.Claim, error) {
	var claim wire.Claim
	return claim, c.call(ctx, http.MethodGet, claimPath(id), nil, &claim)
}

// List returns the caller's claims.
func (c *Client) List(ctx context.Context, metadata ...string) ([]wire.Claim, error) {
	path := "/v1/claims"
	if len(metadata) > 0 {
		path += "?" + url.Values{"metadata": metadata}.Encode()
	}
	var list wire.ClaimList
	return list.Claims, c.call(ctx, http.MethodGet, path, nil, &list)
}

// Release ends a claim and destroys its sandbox.
func (c *Client) Release(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, claimPath(id), nil, nil)
}

// Extend puts a claim's end off by half of its lifetime and returns it.
func (c *Client) Extend(ctx context.Context, id string) (wire.Claim, error) {
	return c.ExtendBy(ctx, id, wire.ExtendRequest{})
}

// ExtendBy puts a claim's end off as far as req says and returns it.
func (c *Client) ExtendBy(ctx context.Context, id string, req wire.ExtendRequest) (wire.Claim, error) {
	var claim wire.Claim
	return claim, c.call(ctx, http.MethodPost, claimPath(id)+"/extend", req, &claim)
}

// Checkpoint saves a claim's sandbox to disk.
func (c *Client) Checkpoint(ctx context.Context, id string, req wire.CheckpointRequest) (wire.Checkpoint, error) {
	var saved wire.Checkpoint
	return saved, c.call(ctx, http.MethodPost, claimPath(id)+"/checkpoint", req, &saved)
}

// Fork returns claims that go on from the present moment of a claim's sandbox.
func (c *Client) Fork(ctx context.Context, id string, req wire.ForkRequest) ([]wire.Claim, error) {
	var list wire.ClaimList
	return list.Claims, c.call(ctx, http.MethodPost, claimPath(id)+"/fork", req, &list)
}

// Checkpoints returns the caller's checkpoints, oldest first.
func (c *Client) Checkpoints(ctx context.Context) ([]wire.Checkpoint, error) {
	var list wire.CheckpointList
	return list.Checkpoints, c.call(ctx, http.MethodGet, "/v1/checkpoints", nil, &list)
}

// GetCheckpoint returns a checkpoint.
func (c *Client) GetCheckpoint(ctx context.Context, id string) (wire.Checkpoint, error) {
	var saved wire.Checkpoint
	return saved, c.call(ctx, http.MethodGet, checkpointPath(id), nil, &saved)
}

// DeleteCheckpoint deletes a checkpoint.
func (c *Client) DeleteCheckpoint(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, checkpointPath(id), nil, nil)
}

// Pools returns the state of all pools.
func (c *Client) Pools(ctx context.Context) ([]wire.Pool, error) {
	var list wire.PoolList
	return list.Pools, c.call(ctx, http.MethodGet, "/v1/pools", nil, &list)
}

// ChangePool changes a pool until the daemon's next reload or start, and returns it. name is its template or region:template.
func (c *Client) ChangePool(ctx context.Context, name string, change wire.PoolChange) (wire.Pool, error) {
	var pool wire.Pool
	return pool, c.call(ctx, http.MethodPut, poolPath(name), change, &pool)
}

// DrainPool empties a pool, holds its refilling and returns it. name is its template or region:template.
func (c *Client) DrainPool(ctx context.Context, name string) (wire.Pool, error) {
	var pool wire.Pool
	return pool, c.call(ctx, http.MethodPost, poolPath(name)+"/drain", nil, &pool)
}

// Templates lists the templates.
func (c *Client) Templates(ctx context.Context) ([]wire.Template, error) {
	var list wire.TemplateList
	return list.Templates, c.call(ctx, http.MethodGet, "/v1/templates", nil, &list)
}

// CheckTemplate tries a template: one sandbox is started and destroyed. A step that failed is no error.
func (c *Client) CheckTemplate(ctx context.Context, name string) ([]wire.TemplateStep, error) {
	var check wire.TemplateCheck
	return check.Steps, c.call(ctx, http.MethodPost, "/v1/templates/"+url.PathEscape(name)+"/check", nil, &check)
}

// Images returns the images of all templates, sorted by their references.
func (c *Client) Images(ctx context.Context) ([]wire.Image, error) {
	var list wire.ImageList
	return list.Images, c.call(ctx, http.MethodGet, "/v1/images", nil, &list)
}

// Info returns what the daemon says about itself and its host.
func (c *Client) Info(ctx context.Context) (wire.Info, error) {
	var info wire.Info
	return info, c.call(ctx, http.MethodGet, "/v1/info", nil, &info)
}

// Ready returns nil when the daemon can serve claims.
func (c *Client) Ready(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/readyz", nil, nil)
}

// Close drops the connections that are kept for reuse. The client stays usable.
func (c *Client) Close() { c.client().CloseIdleConnections() }

func claimPath(id string) string { return "/v1/claims/" + url.PathEscape(id) }

func checkpointPath(id string) string { return "/v1/checkpoints/" + url.PathEscape(id) }

func poolPath(name string) string { return "/v1/pools/" + url.PathEscape(name) }

func (c *Client) client() *http.Client {
	c.once.Do(func() {
		c.http = &http.Client{Transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
			MaxIdleConnsPerHost: keepConns,
			DisableCompression:  true,
			// A body of any length is sent when the daemon has begun to take it, so that a refusal is seen.
			ExpectContinueTimeout: time.Minute,
		}}
	})
	return c.http
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	socket := c.Socket
	if socket == "" {
		socket = wire.DefaultSocket
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil && context.Cause(ctx) == nil {
		return nil, &UnreachableError{Socket: socket, Err: err}
	}
	return conn, err
}

// longestSocket is what a unix socket's address holds, in bytes, with a NUL behind it.
const longestSocket = len(unix.RawSockaddrUnix{}.Path) - 1

// ask sends in, unless it is nil, and returns an answer that is a success. Bytes are sent as they are, and all else as JSON.
func (c *Client) ask(ctx context.Context, method, path string, in any) (*http.Response, error) {
	req, err := newRequest(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return nil, callError(req, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		defer resp.Body.Close() //nolint:errcheck // it was only read
		return nil, readError(resp)
	}
	return resp, nil
}

// call is ask that reads the answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.ask(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()            //nolint:errcheck // it was only read
	body, err := io.ReadAll(resp.Body) // to its end, so that the connection is kept
	if err == nil && out != nil {
		err = json.Unmarshal(body, out)
	}
	if err != nil {
		return fmt.Errorf("read reply to %s %s: %w", method, path, err)
	}
	return nil
}

func newRequest(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader
	text, raw := in.([]byte)
	if raw {
		body = bytes.NewReader(text)
	} else if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if in != nil && !raw {
		req.Header.Set("Content-Type", "application/json")
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header)) // nothing, if ctx is in no trace
	return req, nil
}

// callError strips the made-up URL off the transport's error, and says why the context ended if it did.
func callError(req *http.Request, err error) error {
	if unreachable, ok := errors.AsType[*UnreachableError](err); ok {
		return unreachable
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	if cause := context.Cause(req.Context()); cause != nil {
		err = cause
	}
	return fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
}

// readError makes a *wire.Error of an answer, whatever its body.
func readError(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, wire.MaxBody)) // half a body is better than none
	answer := &wire.Error{}
	if err := json.Unmarshal(body, answer); err != nil || answer.Code == "" {
		answer.Code, answer.Message = "internal", fmt.Sprintf("sandpoold answered %s: %q", resp.Status, body)
	}
	answer.Status = resp.StatusCode
	return answer
}

// UnreachableError says that nothing listens on the socket, or that the caller may not connect to it.
type UnreachableError struct {
	Socket string
	Err    error
}

func (e *UnreachableError) Error() string {
	if n := len(e.Socket); n > longestSocket {
		return fmt.Sprintf("the path of the socket has %d bytes, of at most %d: set another by --socket, SANDPOOL_SOCKET or daemon.socket: %s", n, longestSocket, e.Socket)
	}
	if errors.Is(e.Err, fs.ErrPermission) {
		return fmt.Sprintf("may not use %s: permission denied: %s", e.Socket, remedy(e.Socket))
	}
	reason := e.Err
	for inner := errors.Unwrap(reason); inner != nil; inner = errors.Unwrap(reason) {
		reason = inner // the outer ones name the socket again
	}
	return fmt.Sprintf("no sandpoold at %s: %v: is it running?", e.Socket, reason)
}

// remedy says how a user comes to be allowed a socket, as far as its file tells.
func remedy(socket string) string {
	const otherwise = "only root and the socket's group may use it"
	var file unix.Stat_t
	if err := unix.Stat(socket, &file); err != nil || file.Gid == 0 || file.Mode&unix.S_IWGRP == 0 {
		return otherwise
	}
	group, err := user.LookupGroupId(strconv.FormatUint(uint64(file.Gid), 10))
	if err != nil {
		return otherwise
	}
	return fmt.Sprintf("join the group %s (usermod -aG %[1]s USER) and log in again", group.Name)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// IsNotFound tells whether the daemon answered that there is no such thing.
func IsNotFound(err error) bool {
	answer, ok := errors.AsType[*wire.Error](err)
	return ok && answer.Code == wire.CodeNotFound
}
