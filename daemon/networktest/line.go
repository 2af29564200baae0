package networktest

import (
	"bufio"
	"fmt"
	"io"
	"testing"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/scripts/outside"
)

// Line is a connection of a program in a sandbox to the server that echoes.
type Line struct {
	t     *testing.T
	say   *io.PipeWriter
	heard *bufio.Scanner
}

// Echo has a program in a sandbox connect to the server that echoes.
func (d *Daemon) Echo(t *testing.T, id string) *Line {
	t.Helper()
	in, say := io.Pipe()
	heard, out := io.Pipe()
	l := &Line{t, say, bufio.NewScanner(heard)}
	go func() { // ends with the test
		args := []string{"nc", outside.Echo, fmt.Sprint(outside.EchoPort)}
		_, err := d.Exec(t.Context(), id, wire.ExecRequest{Args: args}, client.Stdio{In: in, Out: out, Err: io.Discard})
		_ = out.CloseWithError(err) // whose answer is waited for is told why there is none
	}()
	t.Cleanup(func() { _ = say.Close() })
	return l
}

// Talks says something and wants to hear it.
func (l *Line) Talks(text string) {
	l.t.Helper()
	if _, err := io.WriteString(l.say, text+"\n"); err != nil {
		l.t.Error(err)
	}
	if !l.heard.Scan() || l.heard.Text() != text {
		l.t.Errorf("%q was answered by %q, %v", text, l.heard.Text(), l.heard.Err())
	}
}
