// Package input is what commands in sandboxes read of the program's own input, and its terminal.
package input

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Background is in, but when it is a terminal that another program has, as when a shell runs this one in the background, a Read waits
// until this program has it again, and does not stop the program.
func Background(in io.Reader) io.Reader {
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return in
	}
	signal.Ignore(unix.SIGTTIN) // a Read then fails instead
	return sharedTerminal{file}
}

// turnInterval is the time between two looks at whose turn it is.
const turnInterval = 200 * time.Millisecond

type sharedTerminal struct{ file *os.File }

func (s sharedTerminal) Read(b []byte) (int, error) {
	for {
		for s.isAnothers() {
			time.Sleep(turnInterval)
		}
		n, err := s.file.Read(b)
		if n > 0 || !errors.Is(err, unix.EIO) || !s.isAnothers() {
			return n, err
		}
	}
}

func (s sharedTerminal) isAnothers() bool {
	group, err := unix.IoctlGetInt(int(s.file.Fd()), unix.TIOCGPGRP)
	return err == nil && group != unix.Getpgrp()
}

// endless is input without an end: where it ends, Read waits for ctx.
type endless struct {
	ctx context.Context //nolint:containedctx // it is what the reader is bounded by
	in  io.Reader
}

func (e endless) Read(b []byte) (int, error) {
	if e.in != nil {
		if n, err := e.in.Read(b); n > 0 || err == nil {
			return n, nil
		}
	}
	<-e.ctx.Done()
	return 0, io.EOF
}

// Endless is input that has no end until ctx does. in may be nil.
func Endless(ctx context.Context, in io.Reader) io.Reader { return endless{ctx, in} }

// Leavable is a terminal's input with keys that leave: Ctrl-P and then Ctrl-Q.
func Leavable(in io.Reader, leave func()) io.Reader { return &leavable{in: in, leave: leave} }

// leavable is a terminal's input with keys that leave: Ctrl-P and then Ctrl-Q.
type leavable struct {
	in    io.Reader
	leave func()
	begun bool // the first of the keys has come
}

func (l *leavable) Read(b []byte) (int, error) {
	const first, second = 'P' - '@', 'Q' - '@'
	n, err := l.in.Read(b)
	for _, key := range b[:n] {
		if l.begun && key == second {
			l.leave()
		}
		l.begun = key == first
	}
	return n, err
}

// WithTerm tells the command the kind of terminal unless env does.
func WithTerm(env []string) []string {
	for _, entry := range env {
		if strings.HasPrefix(entry, "TERM=") {
			return env
		}
	}
	if kind := os.Getenv("TERM"); kind != "" {
		return append([]string{"TERM=" + kind}, env...)
	}
	return env
}

// Size returns the terminal's rows and columns; an unknown size is that of the oldest terminals.
func Size(fd int) (rows, cols uint16) {
	width, height, err := term.GetSize(fd)
	if err != nil || width <= 0 || height <= 0 {
		return 24, 80
	}
	return uint16(height), uint16(width) //nolint:gosec // the kernel keeps them in 16 bits
}
