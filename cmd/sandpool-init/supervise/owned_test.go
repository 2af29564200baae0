package supervise

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/runtime/supervisor/protocol"
)

// TestWhatEndsWithTheConnection has a process that process 1 started for a client, one that is to live on, one that others started, and one of
// those that has ended.
func TestWhatEndsWithTheConnection(t *testing.T) {
	others := exec.Command("sleep", "1000")
	if err := others.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = others.Process.Kill(), others.Wait() }()
	over := exec.Command("true")
	if err := over.Run(); err != nil {
		t.Fatal(err)
	}
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	heard, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := New()
	asked := make(chan int, 8)
	s.end = func(leader int) error { asked <- leader; return nil }
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(in, out)
	}()
	send := func(kind protocol.Kind, stream uint32, payload []byte) {
		t.Helper()
		data, err := protocol.Frame{Kind: kind, Stream: stream, Payload: payload}.Encode()
		if err == nil {
			_, err = feed.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	answers := protocol.NewReader(heard)
	begin := func(stream uint32, follow bool) int {
		t.Helper()
		send(protocol.Start, stream, protocol.Words(protocol.Command{Args: []string{"/bin/sleep", "1000"}, Follow: follow}.Words()))
		for {
			f, err := answers.Next()
			if err != nil || f.Kind == protocol.Failed {
				t.Fatalf("%s, %v", f.Payload, err)
			}
			if f.Kind == protocol.Reply {
				words, _ := protocol.SplitWords(f.Payload)
				p, err := protocol.ProcessOf(words)
				if err != nil || p.User == "" {
					t.Errorf("it began as %+v, %v", p, err)
				}
				return p.PID
			}
		}
	}
	clients, stays := begin(1, true), begin(2, false)
	send(protocol.Own, 3, protocol.Numbers(int64(others.Process.Pid)))
	send(protocol.Own, 4, protocol.Numbers(int64(over.Process.Pid)))
	send(protocol.Own, 5, protocol.Numbers(1))
	_ = feed.Close()
	<-served
	got := []int{<-asked, <-asked}
	if slices.Sort(got); !slices.Contains(got, clients) || !slices.Contains(got, others.Process.Pid) {
		t.Errorf("%d were ended, want %d and %d", got, clients, others.Process.Pid)
	}
	for _, pid := range []int{clients, stays} {
		var status unix.WaitStatus
		_ = unix.Kill(pid, syscall.SIGKILL)
		if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
			t.Error(err)
		}
		s.Reaped(pid, status)
	}
	if _, err := s.find(int64(clients)); err == nil {
		t.Error("what nobody can ask for is kept")
	}
	if p, err := s.find(int64(stays)); err != nil || p.describe().User == "" {
		t.Errorf("what was to stay is %+v, %v", p, err)
	}
	if len(asked) > 0 {
		t.Errorf("process %d was ended, too", <-asked)
	}
}
