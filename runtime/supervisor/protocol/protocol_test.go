package protocol

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"
)

// FuzzRead reads any bytes as frames and all that they may say, and never more of them than there are.
func FuzzRead(f *testing.F) {
	for _, frame := range []Frame{
		{Start, 1, Words(Command{Args: []string{"a", ""}, Env: []string{"K=V"}, Folder: "/", User: "u:g", TTY: true, Rows: 3, Cols: 4, Timeout: time.Second}.Words())},
		limitedStart(),
		{Reply, 2, Words(Process{PID: 7, Supervised: true, Ended: true, Code: 3, Started: time.Unix(1, 0), First: 1, Next: 9, State: "S", User: "0", Args: []string{"x"}}.Words())},
		{Output, 3, Chunk{Position: 5, From: Stderr, Data: []byte("hi")}.Encode()},
		{Failed, 4, (&Failure{Reason: Refused, Code: 127, Text: "no"}).Encode()},
		{Signal, 5, Numbers(7, 9)},
	} {
		data, err := frame.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for r := NewReader(untimed{bytes.NewReader(data)}); ; {
			frame, err := r.Next()
			if err != nil {
				return
			}
			_, _ = DecodeChunk(frame.Payload, 0)
			_, _ = DecodeFailure(frame.Payload)
			_, _ = Asked(frame.Payload, 2)
			words, err := SplitWords(frame.Payload)
			if err != nil {
				continue
			}
			if !bytes.Equal(Words(words), frame.Payload) {
				t.Errorf("%q became %q", frame.Payload, Words(words))
			}
			if c, err := CommandOf(words); err == nil {
				if again, err := CommandOf(c.Words()); err != nil || !reflect.DeepEqual(again, c) {
					t.Errorf("%+v became %+v, %v", c, again, err)
				}
			}
			if c, err := StartOf(StartLimited, words); err == nil && len(c.Limits) > 0 {
				kind, said := c.Start()
				if again, err := StartOf(kind, said); err != nil || !reflect.DeepEqual(again, c) {
					t.Errorf("%+v became %+v, %v", c, again, err)
				}
			}
			if p, err := ProcessOf(words); err == nil {
				if again, err := ProcessOf(p.Words()); err != nil || !reflect.DeepEqual(again, p) {
					t.Errorf("%+v became %+v, %v", p, again, err)
				}
			}
		}
	})
}

// limitedStart is the frame of a command with limits.
func limitedStart() Frame {
	kind, words := Command{Args: []string{"a"}, Limits: []string{"nofile=1:2"}}.Start()
	return Frame{kind, 6, Words(words)}
}

// TestFramesThatAreTooLarge are refused by who sends and by who receives them, before there is room made for them.
func TestFramesThatAreTooLarge(t *testing.T) {
	for kind, size := range map[Kind]int{Output: MaxData + 65, Start: MaxMessage + 1, Grant: 5, Leave: 1} {
		if _, err := (Frame{kind, 1, make([]byte, size)}).Encode(); err == nil {
			t.Errorf("kind %d with %d bytes is sent", kind, size)
		}
		head := []byte{byte(kind), 0, 0, 0, 1, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
		if _, err := NewReader(untimed{io.MultiReader(bytes.NewReader(head), neverRead{t})}).Next(); err == nil {
			t.Errorf("kind %d with %d bytes is read", kind, size)
		}
	}
}

type neverRead struct{ t *testing.T }

func (n neverRead) Read([]byte) (int, error) {
	n.t.Error("the payload is read")
	return 0, io.EOF
}

// untimed is a pipe that has no deadlines, since nothing of it is waited for.
type untimed struct{ io.Reader }

func (untimed) SetReadDeadline(time.Time) error { return nil }

// TestFrameThatDoesNotEnd begins a frame, which must then come whole in time; between frames there is no such time.
func TestFrameThatDoesNotEnd(t *testing.T) {
	whole, err := Frame{Kind: Get, Stream: 1, Payload: Numbers(7)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []int{1, headSize - 1, headSize, len(whole) - 1} {
		in, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		timed := &deadlines{File: in}
		frames := NewReader(timed)
		if _, err := out.Write(append(slices.Clone(whole), whole[:part]...)); err != nil {
			t.Fatal(err)
		}
		if _, err := frames.Next(); err != nil || timed.set != 0 {
			t.Errorf("a whole frame: %v, %d deadlines", err, timed.set)
		}
		timed.over = true
		if _, err := frames.Next(); !errors.Is(err, os.ErrDeadlineExceeded) || timed.set != 1 {
			t.Errorf("%d bytes of a frame: %v after %d deadlines", part, err, timed.set)
		}
		_, _ = in.Close(), out.Close()
	}
}

// deadlines is a pipe whose deadlines are over as soon as they are set.
type deadlines struct {
	*os.File

	set  int
	over bool
}

func (d *deadlines) SetReadDeadline(deadline time.Time) error {
	d.set++
	if d.over {
		deadline = time.Unix(1, 0)
	}
	return d.File.SetReadDeadline(deadline)
}
