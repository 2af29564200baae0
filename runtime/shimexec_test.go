package runtime

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"
)

func TestFirstLineIsKept(t *testing.T) {
	for _, sent := range []string{"12\nrest", "12\r\nrest"} {
		var passed bytes.Buffer
		f := &firstLine{then: &passed, line: make(chan string, 1)}
		p := &shimProcess{result: newResult()}
		for rest := iotest.OneByteReader(bytes.NewReader([]byte(sent))); ; {
			b := make([]byte, 8)
			n, err := rest.Read(b)
			if err != nil {
				break
			}
			if _, err := f.Write(b[:n]); err != nil {
				t.Fatal(err)
			}
		}
		if pid, err := p.awaitPID(t.Context(), f.line); pid != 12 || err != nil || passed.String() != "rest" {
			t.Errorf("%q: process %d, %v, and %q is passed on", sent, pid, err, passed.String())
		}
	}
}

// TestInitOfAnOlderRelease ends without a word of its process id.
func TestInitOfAnOlderRelease(t *testing.T) {
	p := &shimProcess{result: newResult()}
	p.end(2, nil)
	if _, err := p.awaitPID(t.Context(), make(chan string)); !errors.Is(err, errOldInit) {
		t.Errorf("%v, want that the init is old", err)
	}
}
