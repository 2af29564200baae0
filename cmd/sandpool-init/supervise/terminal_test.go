package supervise

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/runtime/supervisor/protocol"
)

// TestKeysThatDropInput looks for keys that send signals and drop input in what is typed, which is up to how the terminal is set.
func TestKeysThatDropInput(t *testing.T) {
	var f files
	if err := f.openTerminal(0, 0); err != nil {
		t.Fatal(err)
	}
	defer f.close()
	p := &supervised{command: protocol.Command{TTY: true}, stdin: f.stdin}
	for name, test := range map[string]struct {
		set   func(*unix.Termios)
		typed string
		want  int
	}{
		"none":             {func(*unix.Termios) {}, "abc\x04\x00\n", 6},
		"Ctrl-C":           {func(*unix.Termios) {}, "ab\n\x03c\x1a", 3},
		"Ctrl-Z":           {func(*unix.Termios) {}, "a\x1a\x03", 1},
		"Ctrl-\\":          {func(*unix.Termios) {}, "\x1c", 0},
		"without signals":  {func(m *unix.Termios) { m.Lflag &^= unix.ISIG }, "a\x03", 2},
		"without dropping": {func(m *unix.Termios) { m.Lflag |= unix.NOFLSH }, "a\x03", 2},
		"another key":      {func(m *unix.Termios) { m.Cc[unix.VINTR], m.Cc[unix.VQUIT] = 'x', 0 }, "\x00\x03\x1cx", 3},
	} {
		fd := f.given[0]
		was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		mode := *was
		test.set(&mode)
		if err := unix.IoctlSetTermios(fd, unix.TCSETS, &mode); err != nil {
			t.Fatal(err)
		}
		if got := p.beforeKey([]byte(test.typed)); got != test.want {
			t.Errorf("%s: %d bytes come before a key, want %d", name, got, test.want)
		}
		err = unix.IoctlSetTermios(fd, unix.TCSETS, was)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeysOvertakeInput types a key behind more input than a terminal keeps: who waits to give the rest is told that it was not taken.
func TestKeysOvertakeInput(t *testing.T) {
	for _, key := range []string{"\x03", "a\x1a"} {
		var f files
		if err := f.openTerminal(0, 0); err != nil {
			t.Fatal(err)
		}
		p := &supervised{command: protocol.Command{TTY: true}, stdin: f.stdin}
		line := []byte("nobody reads it\n")
		pasted := make(chan error, 1)
		go func() { pasted <- p.feed(bytes.Repeat(line, 1<<20)) }()
		for begun := 0; begun == 0; { // from then on it waits for a reader
			var err error
			if begun, err = unix.IoctlGetInt(f.given[0], unix.TIOCINQ); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.feed(line); !refused(err) {
			t.Errorf("a second writer: %v", err)
		}
		if err := p.feed([]byte(key)); err != nil {
			t.Fatalf("key %q: %v", key, err)
		}
		if err := <-pasted; !refused(err) {
			t.Errorf("before the key %q: %v", key, err)
		}
		if err := p.feed([]byte("kept\n")); err != nil {
			t.Error(err)
		}
		f.close()
	}
}

func refused(err error) bool {
	failed, ok := errors.AsType[*protocol.Failure](err)
	return ok && failed.Reason == protocol.NoRoom
}
