package progress

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/containerd/console"
)

// TestBegin reads a terminal until it was told twice, ends, and reads that the line was taken back.
func TestBegin(t *testing.T) {
	screen, path, err := console.NewPty()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close() //nolint:errcheck // nothing was kept in it
	terminal, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	end := Begin(terminal, "waiting for a sandbox")
	lines := bufio.NewReader(screen)
	for range 2 {
		if text, err := lines.ReadString('s'); err != nil || !bytes.HasPrefix([]byte(text), []byte(clearLine+"waiting for a s")) {
			t.Fatalf("%v: %q", err, text)
		}
		if text, err := lines.ReadString('s'); err != nil || !bytes.HasPrefix([]byte(text), []byte("andbox … ")) {
			t.Fatalf("%v: %q", err, text)
		}
	}
	end()
	if err := terminal.Close(); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(lines) // a terminal that is gone ends with an error
	if !bytes.HasSuffix(rest, []byte(clearLine)) {
		t.Errorf("the line is left: %q", rest)
	}
}

func TestBeginWithoutATerminal(t *testing.T) {
	var said bytes.Buffer
	Begin(&said, "waiting")()
	if said.Len() > 0 {
		t.Errorf("said %q", said.String())
	}
}
