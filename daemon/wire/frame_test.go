package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFramesComeBack(t *testing.T) {
	frames := []Frame{
		{FrameStdin, []byte("in")},
		{FrameStdin, []byte{}},
		{FrameStdout, bytes.Repeat([]byte{0, 255}, MaxFrame/2)},
		{FrameStderr, []byte("err")},
		{FrameResize, []byte{0, 24, 0, 80}},
		{FrameSignal, []byte{15}},
		{FrameExit, []byte{0, 0, 0, 1}},
		{FrameError, []byte(`{"code":"internal"}`)},
	}
	var stream bytes.Buffer
	for _, frame := range frames {
		if err := WriteFrame(&stream, frame); err != nil {
			t.Fatal(err)
		}
	}
	slow := iotest.HalfReader(&stream)
	for i, want := range frames {
		got, err := ReadFrame(slow)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("frame %d: got %v, %v; want %v", i, got.Kind, err, want.Kind)
		}
	}
	if _, err := ReadFrame(slow); err != io.EOF { //nolint:errorlint // exactly io.EOF is promised
		t.Errorf("after the last frame: %v, want EOF", err)
	}
}

type countingWriter int

func (c *countingWriter) Write(p []byte) (int, error) { *c++; return len(p), nil }

func TestWriteFrame(t *testing.T) {
	var writes countingWriter
	if err := WriteFrame(&writes, Frame{FrameStdout, []byte("x")}); err != nil || writes != 1 {
		t.Errorf("%d writes, %v; want one", writes, err)
	}
	if err := WriteFrame(&writes, Frame{FrameStdout, make([]byte, MaxFrame+1)}); err == nil || writes != 1 {
		t.Errorf("over the limit: %d writes, %v", writes, err)
	}
	broken := errors.New("broken")
	if err := WriteFrame(errWriter{broken}, Frame{}); !errors.Is(err, broken) {
		t.Errorf("broken pipe: %v", err)
	}
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }

func TestReadFrameRefuses(t *testing.T) {
	tests := map[string]struct {
		stream string
		want   string
	}{
		"half a header":   {"\x00\x00", "unexpected EOF"},
		"half a payload":  {"\x00\x00\x00\x00\x02x", "unexpected EOF"},
		"no payload":      {"\x00\x00\x00\x00\x02", "unexpected EOF"},
		"unknown kind":    {"\x07\x00\x00\x00\x00", "unknown kind 7"},
		"over the limit":  {"\x01\x00\x04\x00\x01", "over the limit"},
		"4 GiB announced": {"\x01\xff\xff\xff\xff", "over the limit"},
	}
	for name, test := range tests {
		if _, err := ReadFrame(strings.NewReader(test.stream)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// FuzzReadFrame finds no bytes that panic, or that are read as a frame and written as another.
func FuzzReadFrame(f *testing.F) {
	for _, seed := range []string{"", "\x00\x00\x00\x00\x00", "\x01\x00\x00\x00\x02hi", "\x05\x00\x00\x00\x04\x00\x00\x00\x01", "\x06\x00\x04\x00\x01", "\x09\x00\x00\x00\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := ReadFrame(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteFrame(&out, frame); err != nil || !bytes.HasPrefix(data, out.Bytes()) {
			t.Errorf("%x was read, %x written, %v", data, out.Bytes(), err)
		}
		if size := binary.BigEndian.Uint32(data[1:]); int(size) != len(frame.Payload) {
			t.Errorf("%d bytes announced, %d read", size, len(frame.Payload))
		}
	})
}
