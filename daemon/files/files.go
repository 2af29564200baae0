// Package files has the inits of sandboxes do what clients ask for with files, and reads what they answer. A sandbox is hostile, so every
// answer is bounded and checked, and nothing of the host is opened by what it says.
package files

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime"
	"sandpool/runtime/template"
)

const (
	// maxLine is more than the longest line about a file has, in bytes: two paths, quoted.
	maxLine = 64 << 10
	// maxSaid is how much of an init's errors is kept, in bytes.
	maxSaid = 16 << 10
	// leaveTime is how long an init may take to tidy up when its client has gone.
	leaveTime = 5 * time.Second
	// pieceSize is how much of a body is sent at a time, in bytes.
	pieceSize = 256 << 10
)

// Process is an init that does an operation; see runtime.Process.
type Process interface {
	Wait(ctx context.Context) (code int, err error)
}

// Start starts a command in the sandbox. ctx bounds the start only.
type Start func(ctx context.Context, spec runtime.ExecSpec) (Process, error)

// Op is one operation: the init's own name for it, and its arguments.
type Op struct {
	Name string
	User string // a name or a number, or either with ":group"; empty: the sandbox's own
	Args map[string]string
	Step func(string) // told at every step after which a crash must leave no file half-written under its name; may be nil
}

// told tells of a step.
func (o Op) told(step string) {
	if o.Step != nil {
		o.Step(step)
	}
}

// spec is the command that does the operation. Its arguments are quoted, so that names may be any bytes.
func (o Op) spec() runtime.ExecSpec {
	spec := runtime.ExecSpec{Args: []string{template.InitPath, "file", o.Name}, Bulk: true}
	if path.IsAbs(o.Args["path"]) && (o.Args["to"] == "" || path.IsAbs(o.Args["to"])) {
		spec.Cwd = "/" // the sandbox's own folder may be gone
	}
	args := o.Args
	if o.User != "" {
		spec.Root = true // which the init gives up
		args = maps.Clone(args)
		args["user"] = o.User
	}
	for _, key := range slices.Sorted(maps.Keys(args)) {
		spec.Args = append(spec.Args, key+"="+strconv.QuoteToASCII(args[key]))
	}
	return spec
}

// Do does an operation that answers with one file.
func Do(ctx context.Context, start Start, op Op) (file wire.File, err error) {
	s, err := begin(ctx, start, op)
	if err != nil {
		return file, err
	}
	file, err = s.file()
	return file, s.end(err)
}

// Run does an operation that answers with nothing.
func Run(ctx context.Context, start Start, op Op) error {
	s, err := begin(ctx, start, op)
	if err != nil {
		return err
	}
	return s.end(nil)
}

// Each does an operation that answers with files, until each fails.
func Each(ctx context.Context, start Start, op Op, each func(wire.File) error) error {
	s, err := begin(ctx, start, op)
	if err != nil {
		return err
	}
	for {
		file, err := s.file()
		if errors.Is(err, io.EOF) {
			return s.end(nil)
		}
		if err == nil {
			err = each(file)
		}
		if err != nil {
			return s.end(err)
		}
	}
}

// Copy does an operation that answers with bytes.
func Copy(ctx context.Context, start Start, op Op, to io.Writer) error {
	s, err := begin(ctx, start, op)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{s.out}, make([]byte, pieceSize))
	return s.end(err)
}

// Body is what a client sends.
type Body interface {
	io.Reader
	// Stop has a Read that waits for the client return.
	Stop()
}

// Send does an operation that takes a client's bytes, and answers with a file if it is about one. What did not come to its end is never taken
// for whole.
func Send(ctx context.Context, start Start, op Op, body Body) (file wire.File, err error) {
	s, err := begin(ctx, start, op)
	if err != nil {
		return file, err
	}
	s.tidy.Store(true)
	if line, err := s.line(); err != nil || line != "+" {
		return file, s.end(errors.Join(err, badAnswer(line)))
	}
	op.told("file begun")
	sent := make(chan error, 1)
	go func() { sent <- s.send(body) }()
	file, err = s.file()
	if errors.Is(err, io.EOF) {
		<-s.ended // so that what comes of Stop is not taken for the client's fault
	}
	body.Stop() // no more is wanted, if not all is there
	if broken := <-sent; broken != nil {
		return file, s.end(broken)
	}
	if errors.Is(err, io.EOF) && op.Name == "unpack" {
		err = nil
	}
	return file, s.end(err)
}

// Content is a file's content, as http.ServeContent takes it: it is read from one place on.
type Content struct {
	File wire.File

	s     *session
	at    int64
	begun bool
}

// Open opens a file to be read. It is to be closed.
func Open(ctx context.Context, start Start, op Op) (*Content, error) {
	s, err := begin(ctx, start, op)
	if err != nil {
		return nil, err
	}
	file, err := s.file()
	if err != nil {
		return nil, s.end(err)
	}
	return &Content{File: file, s: s}, nil
}

// Seek implements io.Seeker, until the content is read.
func (c *Content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekEnd:
		offset += c.File.Size
	case io.SeekCurrent:
		offset += c.at
	}
	if c.begun || offset < 0 {
		return 0, errors.New("seek in a stream")
	}
	c.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (c *Content) Read(b []byte) (int, error) {
	if !c.begun {
		c.begun = true
		if _, err := fmt.Fprintf(c.s.in, "%d\n", c.at); err != nil {
			return 0, err
		}
	}
	return c.s.out.Read(b)
}

// Close ends the operation. It returns why the content could not be read, if it was read to its end.
func (c *Content) Close() error {
	if !c.begun {
		_ = c.s.in.Close()
		return c.s.end(nil)
	}
	_, err := c.s.out.Peek(1)
	if errors.Is(err, io.EOF) {
		return c.s.end(nil)
	}
	return c.s.end(errEnough)
}

// errEnough ends an operation of which no more is wanted.
var errEnough = errors.New("no more is wanted")

// The classes of errors about files that errdefs does not have.
var (
	ErrNoFile = errors.New("no such file")
	ErrFull   = errors.New("no room in the sandbox")
)

// classes are those of the errors of the system, by their names. Any other is a conflict with how the files are.
var classes = map[string]error{
	"ENOENT": ErrNoFile, "ENOSPC": ErrFull, "EDQUOT": ErrFull, "EFBIG": ErrFull,
	"EACCES": errdefs.ErrPermissionDenied, "EPERM": errdefs.ErrPermissionDenied, "EROFS": errdefs.ErrPermissionDenied,
	"EINVAL": errdefs.ErrInvalidArgument, "ENAMETOOLONG": errdefs.ErrInvalidArgument, "ELOOP": errdefs.ErrInvalidArgument,
}

// fileError is what an init says of what went wrong.
type fileError struct {
	said  string
	class error
}

func (e *fileError) Error() string { return e.said }

func (e *fileError) Unwrap() error { return e.class }

// EndedError is of an init that ended in another way than it does by itself.
type EndedError struct{ Code int }

func (e *EndedError) Error() string {
	return fmt.Sprintf("the sandbox's init could not do it (exit code %d)", e.Code)
}

// failure makes an error of how an init ended, and of what it said.
func failure(code int, said string) error {
	line, _, _ := strings.Cut(said, "\n")
	name, text, found := strings.Cut(line, " ")
	switch {
	case code == 0:
		return nil
	case code == 2:
		return errdefs.ErrFailedPrecondition.WithMessage("the sandbox's init is of an older release, which cannot do this: claim another sandbox")
	case code != 1 || !found || !strings.HasPrefix(name, "E"):
		return &EndedError{code}
	}
	class := classes[name]
	if class == nil {
		class = errdefs.ErrConflict
	}
	return &fileError{wire.Printable(strings.ToValidUTF8(text, "\uFFFD")), class}
}

func badAnswer(line string) error {
	return errdefs.ErrConflict.WithMessage(fmt.Sprintf("the sandbox's init answers %.64q", line))
}

// reader makes room for the longest line.
func reader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, maxLine) }
