package files

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sandpool/daemon/wire"
)

// session is one operation under way.
type session struct {
	op    Op
	in    *io.PipeWriter // what the init reads
	out   *bufio.Reader  // what it writes
	stop  func()         // ends both
	cause func() error   // why its request has ended, or nil
	kill  context.CancelFunc
	tidy  atomic.Bool   // it is given time to tidy up
	ended chan struct{} // closed when err is set
	err   error
}

// begin starts an operation, which ends when ctx does at the latest. end must be called.
func begin(ctx context.Context, start Start, op Op) (*session, error) {
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	var said limited
	spec := op.spec()
	spec.Stdin, spec.Stdout, spec.Stderr = wideReader{stdin}, stdout, &said
	process, err := start(ctx, spec)
	if err != nil {
		return nil, err
	}
	op.told("file asked")
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	s := &session{op: op, in: in, out: reader(out), kill: kill, ended: make(chan struct{}), cause: func() error { return context.Cause(ctx) }}
	s.stop = func() {
		_ = in.Close()
		_ = out.Close()
		if !s.tidy.Load() {
			kill()
			return
		}
		time.AfterFunc(leaveTime, kill)
	}
	unbind := context.AfterFunc(ctx, s.stop)
	go func() {
		defer close(s.ended)
		code, err := process.Wait(life)
		unbind()
		if err == nil {
			err = failure(code, said.text.String())
		}
		s.err = err
		_ = stdin.Close()
		_ = stdout.Close()
	}()
	return s, nil
}

// wideReader is copied in whole pieces.
type wideReader struct{ io.Reader }

// WriteTo implements io.WriterTo.
func (r wideReader) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, r.Reader, make([]byte, 4+pieceSize))
}

// end waits until the operation has ended, and returns why it failed: by what the init says, or else by err, which is why its answer was not
// taken.
func (s *session) end(err error) error {
	defer s.op.told("file answered")
	defer s.kill()
	if err != nil && !errors.Is(err, io.EOF) {
		s.stop()
		<-s.ended
		if errors.Is(err, errEnough) {
			return nil
		}
		return cmp.Or(s.cause(), err)
	}
	_, _ = io.Copy(io.Discard, s.out) // what it says more than it should
	<-s.ended
	if s.err == nil && err == nil {
		return nil
	}
	return cmp.Or(s.cause(), s.err, badAnswer(""))
}

// line reads one line of the answer. The end of the answer is io.EOF.
func (s *session) line() (string, error) {
	line, err := s.out.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || errors.Is(err, io.EOF) && len(line) > 0 {
		return "", badAnswer(string(line))
	}
	return string(bytes.TrimSuffix(line, []byte("\n"))), err
}

// file reads one line about a file.
func (s *session) file() (wire.File, error) {
	line, err := s.line()
	if err != nil {
		return wire.File{}, err
	}
	file, err := parse(line)
	if err != nil {
		return wire.File{}, badAnswer(line)
	}
	return file, nil
}

// send sends a body in pieces, each behind its length, and one of none when all has come. That the init takes no more is no error here.
func (s *session) send(body io.Reader) error {
	defer func() { _ = s.in.Close() }()
	buf := make([]byte, 4+pieceSize)
	for {
		n, err := body.Read(buf[4:])
		if n > 0 {
			binary.BigEndian.PutUint32(buf, uint32(n)) //nolint:gosec // at most pieceSize
			if _, err := s.in.Write(buf[:4+n]); err != nil {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			s.op.told("file sent")
			_, _ = s.in.Write(make([]byte, 4))
			s.op.told("file ended")
			return nil
		}
		if err != nil {
			select {
			case <-s.ended: // it was stopped since no more was wanted
				return nil
			default:
				return err
			}
		}
	}
}

var kinds = map[string]wire.FileKind{
	"f": wire.KindFile, "d": wire.KindFolder, "l": wire.KindLink, "p": wire.KindPipe, "s": wire.KindSocket, "c": wire.KindDevice, "b": wire.KindDevice,
}

// parse reads the line of a file: see the init's package files.
func parse(line string) (wire.File, error) {
	words := strings.SplitN(line, " ", 8)
	if len(words) != 8 || kinds[words[0]] == "" {
		return wire.File{}, errors.New("want a kind and seven words")
	}
	var sum numbers
	device, inode, _ := strings.Cut(words[6], ":")
	_, _ = sum.of(device, 10, 64), sum.of(inode, 10, 64)
	mode := sum.of(words[1], 8, 12)
	uid, gid, size := sum.of(words[2], 10, 32), sum.of(words[3], 10, 32), sum.of(words[4], 10, 63)
	sec, nsec, _ := strings.Cut(words[5], ".")
	seconds, err := strconv.ParseInt(sec, 10, 64)
	at := time.Unix(seconds, int64(sum.of(nsec, 10, 30))).UTC() //nolint:gosec // of 30 bits
	if y := at.Year(); y < 0 || y > 9999 {
		at = time.Unix(0, 0).UTC() // JSON has no others
	}
	quotedName, err2 := strconv.QuotedPrefix(words[7])
	name, err3 := strconv.Unquote(quotedName)
	target, err4 := strconv.Unquote(strings.TrimPrefix(words[7][min(len(quotedName), len(words[7])):], " "))
	if err := errors.Join(sum.err, err, err2, err3, err4); err != nil {
		return wire.File{}, err
	}
	file := wire.File{
		Kind: kinds[words[0]], Mode: fmt.Sprintf("%04o", mode), UID: uint32(uid), GID: uint32(gid), Size: int64(size), ModifiedAt: at, //nolint:gosec // of so many bits
		ETag: fmt.Sprintf("%q", strings.Join(words[4:7], "-")),
	}
	file.Path, file.PathBytes = wire.Text(name)
	file.Target, file.TargetBytes = wire.Text(target)
	return file, nil
}

// numbers keeps the first error of those that are read.
type numbers struct{ err error }

func (n *numbers) of(text string, base, bits int) uint64 {
	value, err := strconv.ParseUint(text, base, bits)
	n.err = errors.Join(n.err, err)
	return value
}

// limited keeps the beginning of what is written to it.
type limited struct{ text bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	l.text.Write(b[:min(len(b), maxSaid-l.text.Len())])
	return len(b), nil
}
