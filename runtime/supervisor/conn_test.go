package supervisor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"sandpool/runtime/supervisor/protocol"
)

// connect returns a connection whose process 1 says what it is told to, and what the connection says to it.
func connect(t *testing.T) (c *Conn, says, hears *os.File) {
	t.Helper()
	in, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	hears, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	hello, err := protocol.Frame{Kind: protocol.Hello, Payload: []byte(protocol.Version)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := says.Write(hello); err != nil {
		t.Fatal(err)
	}
	c, err = Open(t.Context(), in, out, func(f func()) { go f() }, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		_, _ = says.Close(), hears.Close()
		<-c.lost
	})
	return c, says, hears
}

// FuzzWhatProcess1Says answers with any bytes: nobody waits for ever, and what is kept has bounds.
func FuzzWhatProcess1Says(f *testing.F) {
	for _, frame := range []protocol.Frame{
		{Kind: protocol.Reply, Stream: 1, Payload: protocol.Words(protocol.Process{PID: 7}.Words())},
		{Kind: protocol.Failed, Stream: 1, Payload: (&protocol.Failure{Reason: protocol.NotFound, Text: "x"}).Encode()},
		{Kind: protocol.Output, Stream: 2, Payload: protocol.Chunk{Position: 0, From: protocol.Stdout, Data: []byte("hi")}.Encode()},
		{Kind: protocol.End, Stream: 2, Payload: protocol.Words(protocol.Process{PID: 7, Ended: true}.Words())},
		{Kind: protocol.Reply, Stream: 99},
	} {
		data, err := frame.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		c, says, hears := connect(t)
		go func() {
			buf := make([]byte, 4096)
			for n, err := 0, error(nil); err == nil && n >= 0; n, err = hears.Read(buf) {
				continue
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got := make(chan struct{})
		go func() {
			defer close(got)
			_, _ = c.Get(ctx, 7)
		}()
		follower, err := c.Follow(7, 0)
		if err == nil {
			defer follower.Close()
		}
		_, _ = says.Write(said)
		_ = says.Close()
		<-got
		for err == nil {
			var ended *Process
			_, ended, err = follower.Next(ctx)
			if ended != nil {
				break
			}
		}
		if context.Cause(ctx) != nil {
			t.Error("somebody waited until the deadline")
		}
	})
}

// TestOutputThatNobodyAskedFor ends the connection: what a sandbox sends without leave would be kept.
func TestOutputThatNobodyAskedFor(t *testing.T) {
	c, says, _ := connect(t)
	f, err := c.Follow(7, 0)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); ; {
		chunk := protocol.Chunk{Position: at, From: protocol.Stdout, Data: make([]byte, 32<<10)}
		data, err := protocol.Frame{Kind: protocol.Output, Stream: f.stream, Payload: chunk.Encode()}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := says.Write(data); err != nil {
			break // it has hung up
		}
		if at += int64(len(chunk.Data)); at > 64<<20 {
			t.Fatal("64 MiB were taken")
		}
	}
	<-c.lost
	if f.costs > protocol.Window {
		t.Errorf("%d bytes are kept", f.costs)
	}
}

// TestSilentProcess1 stops process 1: who asks is told so in the end.
func TestSilentProcess1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Conn{lost: make(chan struct{}), streams: map[uint32]receiver{}}
		in, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = in.Close(), out.Close() }()
		c.out = out
		if _, err := c.Get(t.Context(), 7); !errors.Is(err, errSilent) {
			t.Errorf("%v, want that it does not answer", err)
		}
	})
}

// TestLateStartIsKilled lets who asked for a process leave while process 1 starts it.
func TestLateStartIsKilled(t *testing.T) {
	for name, start := range map[string]func(*Conn, context.Context) error{
		"start": func(c *Conn, ctx context.Context) error {
			_, err := c.Start(ctx, Command{Args: []string{"x"}})
			return err
		},
		"run": func(c *Conn, ctx context.Context) error {
			_, _, err := c.Run(ctx, Command{Args: []string{"x"}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, says, hears := connect(t)
			if err := hears.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancelCause(t.Context())
			left := make(chan error, 1)
			go func() { left <- start(c, ctx) }()
			frames := protocol.NewReader(hears)
			asked, err := frames.Next()
			if err != nil || asked.Kind != protocol.Start {
				t.Fatalf("%+v, %v", asked, err)
			}
			leave(os.ErrClosed)
			if err := <-left; !errors.Is(err, os.ErrClosed) {
				t.Errorf("%v, want why it left", err)
			}
			reply, err := protocol.Frame{Kind: protocol.Reply, Stream: asked.Stream, Payload: protocol.Words(protocol.Process{PID: 7}.Words())}.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := says.Write(reply); err != nil {
				t.Fatal(err)
			}
			killed, err := frames.Next()
			if err != nil || killed.Kind != protocol.Signal || !bytes.Equal(killed.Payload, protocol.Numbers(7, 9)) {
				t.Errorf("%+v, %v, want that process 7 is killed", killed, err)
			}
		})
	}
}

// TestOwnOfAnEarlierRelease has process 1 refuse what asks for no answer: the connection goes on.
func TestOwnOfAnEarlierRelease(t *testing.T) {
	c, says, _ := connect(t)
	if err := c.Own(7); err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		_, err := c.Kept(t.Context())
		got <- err
	}()
	for _, f := range []protocol.Frame{
		{Kind: protocol.Failed, Stream: 1, Payload: (&protocol.Failure{Reason: protocol.Refused, Text: "the init knows no such request"}).Encode()},
		{Kind: protocol.Reply, Stream: 2, Payload: protocol.Words([]string{"K=V"})},
	} {
		for c.asked() < f.Stream {
			time.Sleep(time.Millisecond)
		}
		data, err := f.Encode()
		if err == nil {
			_, err = says.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-got; err != nil {
		t.Errorf("the next request ended with %v", err)
	}
}

// asked is how many streams there were.
func (c *Conn) asked() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}
