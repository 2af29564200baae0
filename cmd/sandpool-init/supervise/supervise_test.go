package supervise

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sandpool/runtime/supervisor/protocol"
	"sandpool/scripts/testhost"
)

func TestMain(m *testing.M) {
	testhost.ClearEnv()
	m.Run()
}

// readAll reads what a ring keeps from a position on.
func readAll(r *ring, at int64) (text []byte, first int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first = -1
	for {
		chunk := r.readLocked(at, 100_000)
		if len(chunk.Data) == 0 {
			return text, first
		}
		if first < 0 {
			first = chunk.Position
		}
		text = append(text, chunk.Data...)
		at = chunk.Position + int64(len(chunk.Data))
	}
}

// TestRingKeepsTheLast writes more than a ring keeps: in large pieces, in small ones and by turns.
func TestRingKeepsTheLast(t *testing.T) {
	for name, write := range map[string]func(r *ring, i int){
		"large":    func(r *ring, i int) { r.add(protocol.Stdout, bytes.Repeat([]byte{byte(i)}, 32<<10)) },
		"small":    func(r *ring, i int) { r.add(protocol.Stdout, []byte{byte(i), byte(i >> 8)}) },
		"by turns": func(r *ring, i int) { r.add(protocol.Stdout+byte(i%2), []byte{byte(i)}) },
	} {
		t.Run(name, func(t *testing.T) {
			r, all := newRing(), []byte(nil)
			for i := range 20_000 {
				before := r.next
				write(r, i)
				text, _ := readAll(r, before)
				all = append(all, text...)
				if len(all) > 4<<20 {
					break
				}
			}
			text, first := readAll(r, 0)
			if int64(len(all)) != r.next || !bytes.Equal(text, all[first:]) || len(r.pieces) > keptPieces+1 {
				t.Errorf("%d of %d bytes from %d on, in %d pieces", len(text), len(all), first, len(r.pieces))
			}
			if name != "by turns" && len(text) < min(len(all), keptOutput) {
				t.Errorf("only %d bytes are kept", len(text))
			}
		})
	}
}

// TestRingWaitsForWhoHoldsIt has a writer that is faster than the reader for whom nothing may be dropped.
func TestRingWaitsForWhoHoldsIt(t *testing.T) {
	r := newRing()
	r.held = 0
	wrote := make(chan struct{})
	go func() {
		for range 100 {
			r.add(protocol.Stdout, make([]byte, 32<<10))
		}
		close(wrote)
	}()
	f := &follower{of: &supervised{out: r}, allowed: 100 << 20, holds: true}
	for at := int64(0); at < 100*32<<10; {
		chunk, _ := f.next(at)
		if chunk.Position != at {
			t.Fatalf("output from %d to %d was dropped", at, chunk.Position)
		}
		at += int64(len(chunk.Data))
	}
	<-wrote
	r.held = 0 // far behind: the next write waits until it leaves
	done := make(chan struct{})
	go func() {
		r.add(protocol.Stdout, []byte("x"))
		close(done)
	}()
	f.leave()
	<-done
}

// FuzzServe sends any bytes to process 1's end of a connection: it ends with them, and has started nothing and signalled nobody.
func FuzzServe(f *testing.F) {
	encode := func(frames ...protocol.Frame) (all []byte) {
		for _, frame := range frames {
			data, err := frame.Encode()
			if err != nil {
				f.Fatal(err)
			}
			all = append(all, data...)
		}
		return all
	}
	f.Add([]byte("garbage"))
	f.Add(encode(protocol.Frame{Kind: protocol.List, Stream: 1}, protocol.Frame{Kind: protocol.Kept, Stream: 2}, protocol.Frame{Kind: protocol.Keep, Stream: 3, Payload: protocol.Words([]string{"K=V"})}))
	f.Add(encode(protocol.Frame{Kind: protocol.Start, Stream: 1, Payload: protocol.Words(protocol.Command{Args: []string{"true"}}.Words())}))
	f.Add(encode(protocol.Frame{Kind: protocol.Signal, Stream: 1, Payload: protocol.Numbers(7, 9)}, protocol.Frame{Kind: protocol.Get, Stream: 1, Payload: protocol.Numbers(7)}))
	f.Add(encode(protocol.Frame{Kind: protocol.Own, Stream: 1, Payload: protocol.Numbers(7)}, protocol.Frame{Kind: protocol.Own, Stream: 2, Payload: protocol.Numbers(1)}))
	f.Add(encode(protocol.Frame{Kind: protocol.Follow, Stream: 3, Payload: protocol.Numbers(7, 0)}, protocol.Frame{Kind: protocol.Grant, Stream: 3, Payload: []byte{255, 255, 255, 255}}, protocol.Frame{Kind: protocol.Leave, Stream: 3}))
	f.Add(encode(protocol.Frame{Kind: protocol.Input, Stream: 1, Payload: []byte{0, 0, 0, 7, 1}}, protocol.Frame{Kind: protocol.Resize, Stream: 1, Payload: protocol.Numbers(7, 1, 1)}))
	f.Fuzz(func(t *testing.T, sent []byte) {
		s := New()
		s.kill = func(int, syscall.Signal) error { return syscall.ESRCH }
		s.end = func(int) error { return syscall.ESRCH }
		ended := &supervised{pid: 7, out: newRing(), ended: true, started: time.Now(), stopped: time.Now()}
		ended.out.add(protocol.Stdout, []byte("last words"))
		ended.out.over = true
		s.known[7] = ended
		s.Stop() // so that nothing is started
		in, feed, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		heard, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			buf := make([]byte, 64<<10)
			for {
				if _, err := heard.Read(buf); err != nil {
					return
				}
			}
		}()
		go func() {
			_, _ = feed.Write(sent)
			_ = feed.Close()
		}()
		guard := time.AfterFunc(time.Minute, func() { panic("it hangs") })
		s.Serve(in, out)
		guard.Stop()
		_ = heard.Close()
	})
}

// TestFind looks commands up as a shell does.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"program": 0o755, "text": 0o644} {
		if err := os.WriteFile(dir+"/"+name, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, path, folder, want, fails string }{
		{"program", dir, "/", dir + "/program", ""},
		{"program", "/nowhere:" + dir, "/", dir + "/program", ""},
		{"program", "", dir, "./program", ""},
		{"program", ".", dir, "./program", ""},
		{"./program", "/bin", dir, "./program", ""},
		{"text", dir, "/", "", "permission denied"},
		{"none", dir, "/", "", "not found"},
	} {
		got, err := Find(test.name, []string{"PATH=/wrong", "PATH=" + test.path}, test.folder)
		if got != test.want || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
	if got, err := Find("program", nil, dir); err == nil {
		t.Errorf("without a PATH: %q", got)
	}
	if env := withHome([]string{"A=b"}, "/home/u"); !slices.Equal(env, []string{"A=b", "HOME=/home/u"}) || len(withHome([]string{"HOME=/x"}, "/y")) != 1 {
		t.Errorf("%q", env)
	}
}
