package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime"
)

// watchedFolder stands for inits that watch: all of them tell what comes.
type watchedFolder struct {
	t       *testing.T
	watches Watches
	lines   chan string
	alive   atomic.Int32
}

func newWatchedFolder(t *testing.T) *watchedFolder {
	f := &watchedFolder{t: t, lines: make(chan string)}
	t.Cleanup(func() {
		if f.watches.Close(); f.alive.Load() != 0 {
			t.Errorf("%d watches are left", f.alive.Load())
		}
	})
	return f
}

func (f *watchedFolder) start(_ context.Context, spec runtime.ExecSpec) (Process, error) {
	f.alive.Add(1)
	return fakeProcess(func(ctx context.Context) (int, error) {
		defer f.alive.Add(-1)
		_, _ = io.WriteString(spec.Stdout, "+\n")
		for {
			select {
			case line, more := <-f.lines:
				if _, err := io.WriteString(spec.Stdout, line); err != nil || !more {
					return 0, err
				}
			case <-ctx.Done():
				return 137, nil
			}
		}
	}), nil
}

// happens has files of these numbers created, of which the watch keeps track.
func (f *watchedFolder) happens(from, to int) {
	for i := from; i <= to; i++ {
		f.lines <- fmt.Sprintf("created f \"f%d\"\n", i)
	}
	synctest.Wait()
}

// watchFollower is a client of a watch, and takes what it gets.
type watchFollower struct {
	got   []wire.FileEvent
	slow  chan struct{} // nil, or it takes an event for each of these
	leave context.CancelFunc
	err   error
	ended bool
}

func (*watchFollower) Header() http.Header { return http.Header{} }

func (*watchFollower) WriteHeader(int) {}

func (*watchFollower) Flush() {}

func (w *watchFollower) Write(line []byte) (int, error) {
	if len(line) == 0 {
		return 0, nil
	}
	if w.slow != nil {
		<-w.slow
	}
	var e wire.FileEvent
	err := json.Unmarshal(line, &e)
	w.got = append(w.got, e)
	return len(line), err
}

// cursor is that of the last event that came.
func (w *watchFollower) cursor() string { return w.got[len(w.got)-1].Cursor }

// told is what it was told, the first and the last.
func (w *watchFollower) told() string {
	say := func(e wire.FileEvent) string { return fmt.Sprint(e.Kind, " ", e.Path, " ", e.Dropped) }
	return fmt.Sprint(len(w.got), ": ", say(w.got[0]), ", ", say(w.got[len(w.got)-1]))
}

// come follows, behind a cursor if there is one, until it leaves.
func (f *watchedFolder) come(claim, path, after string) *watchFollower {
	ctx, leave := context.WithCancel(f.t.Context())
	w := &watchFollower{leave: leave}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	r.SetPathValue("id", claim)
	go func() {
		w.err = f.watches.Serve(w, r, f.start, Op{Name: "watch", Args: map[string]string{"path": path, "after": after}})
		w.ended = true
	}()
	synctest.Wait()
	return w
}

// gone has a client leave.
func (w *watchFollower) gone() *watchFollower {
	w.leave()
	synctest.Wait()
	return w
}

func (w *watchFollower) want(t *testing.T, told string) {
	t.Helper()
	if len(w.got) == 0 || w.told() != told {
		t.Errorf("it ended: %t, %v; it was told %v, want %s", w.ended, w.err, w.got, told)
	}
}

// TestWatchesGoOnAlone has clients of watches come back behind what they saw.
func TestWatchesGoOnAlone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T, *watchedFolder, *watchFollower){
		"in time": func(t *testing.T, f *watchedFolder, first *watchFollower) {
			first.gone()
			f.happens(4, 6)
			f.come("c", "p", first.cursor()).want(t, "3: created f4 0, created f6 0")
			f.come("c", "p", first.got[1].Cursor).want(t, "5: created f2 0, created f6 0") // what was on its way
		},
		"before it was missed": func(t *testing.T, f *watchedFolder, first *watchFollower) {
			second := f.come("c", "p", first.cursor())
			if !first.ended || !errors.Is(first.err, context.Canceled) {
				t.Errorf("the first goes on: %v", first.err)
			}
			f.happens(4, 4)
			first.want(t, "4: begun . 0, created f3 0")
			f.come("c", "p", second.gone().cursor())
			second.want(t, "1: created f4 0, created f4 0")
		},
		"to more than is kept": func(t *testing.T, f *watchedFolder, first *watchFollower) {
			first.gone()
			f.happens(4, 9999)
			back := f.come("c", "p", first.cursor())
			kept := len(back.got) - 1
			if dropped := back.got[0].Dropped; dropped < 1000 || dropped+kept != 9999-3 {
				t.Errorf("%d were dropped and %d kept, of %d", dropped, kept, 9999-3)
			}
			back.want(t, fmt.Sprintf("%d: lost . %d, created f9999 0", kept+1, 9999-3-kept))
			f.come("c", "p", back.got[0].Cursor).want(t, fmt.Sprintf("%d: created f%d 0, created f9999 0", kept, 9999-kept+1))
		},
		"too late": func(t *testing.T, f *watchedFolder, first *watchFollower) {
			first.gone()
			time.Sleep(KeptTime) // of the bubble's time
			if synctest.Wait(); f.alive.Load() != 0 {
				t.Error("it is watched for nobody")
			}
			f.come("c", "p", first.cursor()).want(t, "1: lost . 0, lost . 0")
		},
		"for another claim": func(t *testing.T, f *watchedFolder, first *watchFollower) {
			f.come("d", "p", first.gone().cursor()).want(t, "1: lost . 0, lost . 0")
		},
		"with no cursor of it": func(t *testing.T, f *watchedFolder, first *watchFollower) {
			for _, cursor := range []string{"x", "-", "-1", first.gone().cursor() + "9", first.cursor() + "x", strings.Replace(first.cursor(), "-", "--", 1)} {
				f.come("c", "p", cursor).want(t, "1: lost . 0, lost . 0")
			}
		},
		"to something else": func(t *testing.T, f *watchedFolder, first *watchFollower) {
			if other := f.come("c", "q", first.gone().cursor()); !errdefs.IsInvalidArgument(other.err) {
				t.Errorf("%v, %v", other.err, other.got)
			}
		},
		"to what is gone": func(t *testing.T, f *watchedFolder, first *watchFollower) {
			first.gone()
			f.happens(4, 4)
			close(f.lines)
			synctest.Wait()
			back := f.come("c", "p", first.cursor())
			if back.want(t, "1: created f4 0, created f4 0"); !back.ended || back.err != nil {
				t.Errorf("it ended: %t, %v", back.ended, back.err)
			}
		},
		"to what has failed": func(t *testing.T, f *watchedFolder, first *watchFollower) {
			first.gone()
			f.lines <- "nonsense\n"
			synctest.Wait()
			f.come("c", "p", first.cursor()).want(t, "1: lost . 0, lost . 0")
		},
		"of many": func(t *testing.T, f *watchedFolder, first *watchFollower) {
			first.gone()
			for range keptAlone {
				f.come("c", "p", "").gone()
			}
			if alive := f.alive.Load(); alive != keptAlone {
				t.Errorf("%d go on alone, want %d", alive, keptAlone)
			}
			f.come("c", "p", first.cursor()).want(t, "1: lost . 0, lost . 0")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newWatchedFolder(t)
				first := f.come("c", "p", "")
				f.happens(1, 3)
				first.want(t, "4: begun . 0, created f3 0")
				test(t, f, first)
			})
		})
	}
}

// TestWatchOfASilentInit has an init end well before it has begun to watch, as what is in its sandbox can have it do.
func TestWatchOfASilentInit(t *testing.T) {
	t.Parallel()
	start := func(context.Context, runtime.ExecSpec) (Process, error) {
		return fakeProcess(func(context.Context) (int, error) { return 0, nil }), nil
	}
	var watches Watches
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if err := watches.Serve(&watchFollower{}, r, start, Op{Name: "watch", Args: map[string]string{"path": "p"}}); err == nil {
		t.Error("it is watched")
	}
	watches.Close()
}

// TestWatchesWaitForTheirClients has one that reads slowly get all.
func TestWatchesWaitForTheirClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newWatchedFolder(t)
		client := f.come("c", "p", "")
		client.slow = make(chan struct{})
		const all = 9999
		told := make(chan struct{})
		go func() {
			f.happens(1, all)
			close(told)
		}()
		synctest.Wait()
		select {
		case <-told:
			t.Error("nothing waits for the client")
		default:
		}
		close(client.slow)
		<-told
		client.want(t, fmt.Sprintf("%d: begun . 0, created f%d 0", all+1, all))
		client.gone()
	})
}
