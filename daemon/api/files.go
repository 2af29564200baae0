package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sandpool/daemon/files"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime"
)

// fileCall is a request about files in a claim's sandbox, which is kept awake until done is called.
type fileCall struct {
	op    files.Op
	start files.Start
	claim pool.Claim
	done  func()
}

// beginFiles finds the claim of a request about files, and checks its parameters, of which only those that are allowed may be given.
func (a *api) beginFiles(r *http.Request, operation string, allowed ...string) (fileCall, error) {
	claim, err := a.find(r)
	if err != nil {
		return fileCall{}, err
	}
	args, err := fileArgs(r, allowed)
	if err != nil {
		return fileCall{}, err
	}
	who, _ := actorOf(r.Context())
	leave, err := a.crowd.execs.take(who)
	if err != nil {
		return fileCall{}, err
	}
	claim, done, err := a.use(r, claim)
	if err != nil {
		leave()
		return fileCall{}, err
	}
	op := files.Op{Name: operation, User: args["user"], Args: args}
	delete(args, "user")
	start := func(ctx context.Context, spec runtime.ExecSpec) (files.Process, error) {
		return a.Exec(ctx, claim.Sandbox, spec)
	}
	return fileCall{op, start, claim, func() { done(); leave() }}, nil
}

// why is the reason of a failure, by what is known of the sandbox if that is why.
func (a *api) why(r *http.Request, c fileCall, err error) error {
	if ended, is := errors.AsType[*files.EndedError](err); is {
		if ended.Code >= 128 { // by a signal: perhaps with all of its sandbox
			err = cmp.Or(a.fate(r.Context(), c.claim), err)
		}
	}
	return err
}

// fileOp is an operation that answers with a file.
func (a *api) fileOp(operation string, allowed ...string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		c, err := a.beginFiles(r, operation, allowed...)
		if err != nil {
			return err
		}
		defer c.done()
		file, err := files.Do(r.Context(), c.start, c.op)
		if err != nil {
			return a.why(r, c, err)
		}
		return answerJSON(w, http.StatusOK, file)
	}
}

func (a *api) removeFile(w http.ResponseWriter, r *http.Request) error {
	c, err := a.beginFiles(r, "remove", "path", "recursive")
	if err != nil {
		return err
	}
	defer c.done()
	if err := files.Run(r.Context(), c.start, c.op); err != nil {
		return a.why(r, c, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readFile answers with a file's content, or with a part of it, or with nothing if the client has it already.
func (a *api) readFile(w http.ResponseWriter, r *http.Request) error {
	c, err := a.beginFiles(r, "read", "path")
	if err != nil {
		return err
	}
	defer c.done()
	content, err := files.Open(r.Context(), c.start, c.op)
	if err != nil {
		return a.why(r, c, err)
	}
	defer content.Close() //nolint:errcheck // what the client did not get shows in the length
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", content.File.ETag)
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range") // of several parts it gets all, as HTTP allows: they would have to be sought back and forth
	}
	if content.File.Size > 0 {
		shaped := &shapedAnswer{ResponseWriter: w}
		http.ServeContent(shaped, r, "", content.File.ModifiedAt, content)
		return shaped.err
	}
	// It is empty, or one of those that have no size until they are read, as in /proc.
	_, err = io.Copy(w, content)
	if err = cmp.Or(err, content.Close()); err != nil {
		return a.broken(r, err)
	}
	return nil
}

// shapedAnswer takes the failures of http.ServeContent, which have another shape than all errors.
type shapedAnswer struct {
	http.ResponseWriter

	err error
}

func (s *shapedAnswer) WriteHeader(status int) {
	switch status {
	case http.StatusPreconditionFailed:
		s.err = errOtherFile
	case http.StatusRequestedRangeNotSatisfiable:
		s.err = errRange
	default:
		s.ResponseWriter.WriteHeader(status)
	}
}

func (s *shapedAnswer) Write(data []byte) (int, error) {
	if s.err != nil {
		return len(data), nil
	}
	return s.ResponseWriter.Write(data)
}

// broken ends an answer that has begun, so that the client knows that it is not whole.
func (a *api) broken(r *http.Request, err error) error {
	a.Log.Debug("answer broke off", "path", r.URL.Path, "err", err)
	panic(http.ErrAbortHandler) // net/http's own way to close a connection without the end of an answer
}

// writeFile puts the request's body in place of a file's content, adds it to that or writes over it.
func (a *api) writeFile(w http.ResponseWriter, r *http.Request) error {
	c, err := a.beginFiles(r, "write", "path", "mode", "mtime", "append", "offset", "in_place")
	if err != nil {
		return err
	}
	defer c.done()
	args := c.op.Args
	switch {
	case args["append"] != "" && args["in_place"] != "":
		return invalid("query: append and in_place: want one of them")
	case args["append"] != "":
		c.op.Name = "append"
	case args["in_place"] != "":
		c.op.Name = "overwrite"
	}
	file, err := files.Send(r.Context(), c.start, c.op, newPacedBody(w, r))
	if err != nil {
		return a.why(r, c, err)
	}
	return answerJSON(w, http.StatusOK, file)
}

// packFiles answers with a tar stream.
func (a *api) packFiles(w http.ResponseWriter, r *http.Request) error {
	c, err := a.beginFiles(r, "pack", "path", "as", "follow")
	if err != nil {
		return err
	}
	defer c.done()
	out := &begun{Writer: w}
	w.Header().Set("Content-Type", "application/x-tar")
	if err := files.Copy(r.Context(), c.start, c.op, out); err != nil {
		if out.begun {
			return a.broken(r, err)
		}
		w.Header().Del("Content-Type")
		return a.why(r, c, err)
	}
	return nil
}

// begun notes whether an answer has begun.
type begun struct {
	io.Writer

	begun bool
}

func (b *begun) Write(data []byte) (int, error) {
	b.begun = true
	return b.Writer.Write(data)
}

// unpackFiles makes what a tar stream has in a folder.
func (a *api) unpackFiles(w http.ResponseWriter, r *http.Request) error {
	c, err := a.beginFiles(r, "unpack", "path", "owners")
	if err != nil {
		return err
	}
	defer c.done()
	if _, err := files.Send(r.Context(), c.start, c.op, newPacedBody(w, r)); err != nil {
		return a.why(r, c, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// listFiles answers with what is in a folder, one line of JSON each.
func (a *api) listFiles(w http.ResponseWriter, r *http.Request) error {
	c, err := a.beginFiles(r, "list", "path", "depth")
	if err != nil {
		return err
	}
	defer c.done()
	return a.lines(w, r, c, func(line func(any) error) error {
		return files.Each(r.Context(), c.start, c.op, func(f wire.File) error { return line(f) })
	})
}

// lines answers with lines of JSON, or with the error if there was one before the first.
func (a *api) lines(w http.ResponseWriter, r *http.Request, c fileCall, each func(line func(any) error) error) error {
	out := &begun{Writer: w}
	encoder := json.NewEncoder(out)
	w.Header().Set("Content-Type", "application/x-ndjson")
	err := each(func(value any) error { return encoder.Encode(value) })
	if err == nil {
		return nil
	}
	if out.begun {
		return a.broken(r, err)
	}
	w.Header().Del("Content-Type")
	return a.why(r, c, err)
}

// maxPath is the length of a path in bytes that Linux takes.
const maxPath = 4095

// fileArgs reads the parameters of a request about files; only those that are allowed, and user, may be given. A switch that is off is left out.
func fileArgs(r *http.Request, allowed []string) (map[string]string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("query: %v", err)
	}
	args := map[string]string{}
	for key, values := range query {
		if key != "user" && !slices.Contains(allowed, key) {
			return nil, invalid("query: unknown parameter %.64q: want user, %s", key, strings.Join(allowed, ", "))
		}
		if len(values) > 1 {
			return nil, invalid("query: %s is given twice", key)
		}
		value, err := fileArg(key, values[0])
		if err != nil {
			return nil, err
		}
		if value != "" {
			args[key] = value
		}
	}
	for _, needed := range []string{"path", "to", "owner"} {
		if slices.Contains(allowed, needed) && args[needed] == "" {
			return nil, invalid("query: %s is missing", needed)
		}
	}
	return args, nil
}

// fileArg checks a parameter, and returns it as the init takes it.
func fileArg(key, value string) (string, error) {
	if strings.ContainsRune(value, 0) || len(value) > maxPath {
		return "", invalid("query: %s: want at most %d bytes, and no NUL", key, maxPath)
	}
	switch key {
	case "append", "in_place", "parents", "recursive", "follow", "owners":
		on, err := strconv.ParseBool(value)
		if err != nil {
			return "", invalid("query: %s: %.64q: want true or false", key, value)
		}
		if !on {
			return "", nil
		}
		return "1", nil
	case "mode":
		if _, err := strconv.ParseUint(value, 8, 12); err != nil {
			return "", invalid("query: mode: %.64q: want it in octal, at most 7777", value)
		}
	case "offset", "depth":
		if _, err := strconv.ParseUint(value, 10, 62); err != nil {
			return "", invalid("query: %s: %.64q: want a whole number", key, value)
		}
	case "mtime":
		at, err := time.Parse(time.RFC3339Nano, value)
		if err != nil || at.Year() < 1900 || at.Year() > 2200 {
			return "", invalid("query: mtime: %.64q: want a time such as 2026-01-02T15:04:05Z, of the years 1900 to 2200", value)
		}
		return strconv.FormatInt(at.UnixNano(), 10), nil
	case "as":
		if value != "." && (strings.Contains(value, "/") || value == "..") {
			return "", invalid("query: as: %.64q: want one name, or . for the content of a folder", value)
		}
	}
	return value, nil
}
