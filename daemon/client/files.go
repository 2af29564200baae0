package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"sandpool/daemon/wire"
)

// Files are the files of a claim's sandbox. Paths may be any bytes; relative ones begin in the sandbox's own folder.
type Files struct {
	User string // with whose rights: a name or a number, or either with ":group"; empty: the sandbox's own user

	client *Client
	claim  string
}

// Files returns the files of a claim's sandbox.
func (c *Client) Files(claim string) Files { return Files{client: c, claim: claim} }

// Stat returns what is known of a file: of a link itself, or with follow of that to which it leads.
func (f Files) Stat(ctx context.Context, path string, follow bool) (wire.File, error) {
	return f.one(ctx, http.MethodGet, "stat", url.Values{"path": {path}, "follow": {strconv.FormatBool(follow)}})
}

// List calls each for what is in a folder, as deep as is asked for: 1 is its own content, 0 has no end. Paths begin in the folder.
func (f Files) List(ctx context.Context, path string, depth int, each func(wire.File) error) error {
	resp, err := f.do(ctx, http.MethodGet, "/files/list", url.Values{"path": {path}, "depth": {strconv.Itoa(depth)}}, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	return readLines(resp, each)
}

// readLines calls each for the lines of an answer. One that broke off ends with an error.
func readLines[T any](resp *http.Response, each func(T) error) error {
	for lines := json.NewDecoder(resp.Body); ; {
		var value T
		if err := lines.Decode(&value); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return callError(resp.Request, err)
		}
		if err := each(value); err != nil {
			return err
		}
	}
}

// Watch calls each for the changes of a file, or of a folder and what is in it, with recursive as deep as it goes, until what is watched is gone or
// each fails. The first event says that it has begun. With the cursor of an event, after, it goes on behind that for two minutes after the connection
// ended; later the first event says that something may be lost.
func (f Files) Watch(ctx context.Context, path string, recursive bool, after string, each func(wire.FileEvent) error) error {
	query := url.Values{"path": {path}, "recursive": {strconv.FormatBool(recursive)}, "after": {after}}
	resp, err := f.do(ctx, http.MethodGet, "/files/watch", query, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	return readLines(resp, each)
}

// Mkdir makes a folder, with parents also those above it, and then one that is there is no error.
func (f Files) Mkdir(ctx context.Context, path string, mode uint32, parents bool) (wire.File, error) {
	return f.one(ctx, http.MethodPost, "mkdir", url.Values{"path": {path}, "mode": {octal(mode)}, "parents": {strconv.FormatBool(parents)}})
}

// Move gives a file another name, in place of what has it.
func (f Files) Move(ctx context.Context, from, to string) (wire.File, error) {
	return f.one(ctx, http.MethodPost, "move", url.Values{"path": {from}, "to": {to}})
}

// Chmod changes a file's mode.
func (f Files) Chmod(ctx context.Context, path string, mode uint32) (wire.File, error) {
	return f.one(ctx, http.MethodPost, "chmod", url.Values{"path": {path}, "mode": {octal(mode)}})
}

// Chown gives a file to a user, a name or a number, or with ":group" to that group too.
func (f Files) Chown(ctx context.Context, path, owner string) (wire.File, error) {
	return f.one(ctx, http.MethodPost, "chown", url.Values{"path": {path}, "owner": {owner}})
}

// Remove removes a file, a link or an empty folder; with recursive a folder with all that is in it.
func (f Files) Remove(ctx context.Context, path string, recursive bool) error {
	resp, err := f.do(ctx, http.MethodDelete, "/files", url.Values{"path": {path}, "recursive": {strconv.FormatBool(recursive)}}, nil, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Read returns a file's content from an offset on, which is to be closed, and its ETag. If etag is not empty, the file must still have that one:
// another is an error with status 412.
func (f Files) Read(ctx context.Context, path string, offset int64, etag string) (content io.ReadCloser, tag string, err error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	if etag != "" {
		header.Set("If-Match", etag)
	}
	resp, err := f.do(ctx, http.MethodGet, "/files", url.Values{"path": {path}}, header, nil)
	if err != nil {
		return nil, "", err
	}
	if offset > 0 && resp.StatusCode != http.StatusPartialContent {
		return nil, "", errors.Join(fmt.Errorf("read %q: the daemon answers %s instead of a part", path, resp.Status), resp.Body.Close())
	}
	return resp.Body, resp.Header.Get("ETag"), nil
}

// WriteOptions say how a file is written. The zero value puts it in place of the old one, all at once.
type WriteOptions struct {
	Mode    *uint32   // nil: the old file's, or 0644
	Time    time.Time // zero: now
	Append  bool      // add to it; what comes before a break stays
	Offset  *int64    // with Append: the file must have this size
	InPlace bool      // write over it; what comes before a break stays
	Size    int64     // how many bytes of the content are written; fewer are an error. 0: all, and it is not known how many
}

// Write writes a file. It fails, and the old file stays, when content does.
func (f Files) Write(ctx context.Context, path string, content io.Reader, o WriteOptions) (file wire.File, err error) {
	query := url.Values{"path": {path}, "append": {strconv.FormatBool(o.Append)}, "in_place": {strconv.FormatBool(o.InPlace)}}
	if o.Mode != nil {
		query.Set("mode", octal(*o.Mode))
	}
	if !o.Time.IsZero() {
		query.Set("mtime", o.Time.UTC().Format(time.RFC3339Nano))
	}
	if o.Offset != nil {
		query.Set("offset", strconv.FormatInt(*o.Offset, 10))
	}
	return file, f.send(ctx, "/files", query, content, o.Size, &file)
}

// Pack returns a tar stream of what a path leads to, which is to be closed. In it that is called as; empty means its own name, and "." that a
// folder's content is at the top. A stream that broke off ends with an error.
func (f Files) Pack(ctx context.Context, path, as string, follow bool) (io.ReadCloser, error) {
	resp, err := f.do(ctx, http.MethodGet, "/tar", url.Values{"path": {path}, "as": {as}, "follow": {strconv.FormatBool(follow)}}, nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Unpack makes what a tar stream has in a folder of the sandbox, with owners by the numbers in it.
func (f Files) Unpack(ctx context.Context, path string, stream io.Reader, owners bool) error {
	return f.send(ctx, "/tar", url.Values{"path": {path}, "owners": {strconv.FormatBool(owners)}}, stream, 0, nil)
}

func octal(mode uint32) string { return strconv.FormatUint(uint64(mode), 8) }

func (f Files) one(ctx context.Context, method, operation string, query url.Values) (file wire.File, err error) {
	resp, err := f.do(ctx, method, "/files/"+operation, query, nil, nil)
	if err != nil {
		return file, err
	}
	return file, readInto(resp, &file)
}

func readInto(resp *http.Response, out any) error {
	body, err := io.ReadAll(resp.Body) // to its end, so that the connection is kept
	if err == nil && out != nil {
		err = json.Unmarshal(body, out)
	}
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read reply: %w", err)
	}
	return nil
}

// send sends a body once the daemon wants it. A size of 0 is unknown.
func (f Files) send(ctx context.Context, path string, query url.Values, body io.Reader, size int64, out any) error {
	if size > 0 {
		body = io.LimitReader(body, size)
	}
	from := &source{from: body, size: size}
	resp, err := f.do(ctx, http.MethodPut, path, query, http.Header{"Expect": {"100-continue"}}, from)
	if broken := from.err.Load(); broken != nil && err != nil { // what became of the request says nothing about it
		err = *broken
	}
	if err != nil {
		return err
	}
	return readInto(resp, out)
}

// source keeps why what is sent could not be read.
type source struct {
	from io.Reader
	size int64
	err  atomic.Pointer[error] // the transport may go on when it has the answer
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err.Store(&err)
	}
	return n, err
}

// do makes a request about the files. Any answer but a success is an error.
func (f Files) do(ctx context.Context, method, path string, query url.Values, header http.Header, body *source) (*http.Response, error) {
	if f.User != "" {
		query.Set("user", f.User)
	}
	req, err := newRequest(ctx, method, claimPath(f.claim)+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	if body != nil {
		req.Body, req.ContentLength = io.NopCloser(body), body.size
	}
	resp, err := f.client.client().Do(req)
	if err != nil {
		return nil, callError(req, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		defer resp.Body.Close() //nolint:errcheck // it was only read
		return nil, readError(resp)
	}
	return resp, nil
}
