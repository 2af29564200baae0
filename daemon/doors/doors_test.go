package doors

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/lifetime/wait"
	"sandpool/runtime/door"
	"sandpool/runtime/egress"
)

const rules = `[{"mode":"door","allow":["example.com"]}]`

// world is a host of one sandbox: what it says of attempts to open its door, and of the sessions that are served.
type world struct {
	opens  chan error         // answers attempts
	served chan *door.Session // gets what is served
	forgot chan string
	set    egress.Layers // last
	sets   int
}

func (w *world) Set(_ string, l egress.Layers) error {
	w.set, w.sets = l, w.sets+1
	return nil
}

func (w *world) Serve(ctx context.Context, _ string, s *door.Session) error {
	defer context.AfterFunc(ctx, s.Close)()
	w.served <- s
	return s.Serve(func(*door.Stream) {})
}

func (w *world) Forget(sandbox string) { w.forgot <- sandbox }

func (w *world) open(ctx context.Context, _ string) (in, out *os.File, err error) {
	select {
	case err = <-w.opens:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	if err == nil {
		in, _, err = os.Pipe()
	}
	if err == nil {
		_, out, err = os.Pipe()
	}
	return in, out, err
}

func newWorld(t *testing.T) (*world, *Keeper) {
	t.Helper()
	w := &world{opens: make(chan error), served: make(chan *door.Session, 1), forgot: make(chan string, 1)}
	k := New(Options{Open: w.open, Server: w, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(k.Close)
	if err := k.Set("sb-1", rules); err != nil {
		t.Fatal(err)
	}
	return w, k
}

// TestDoorsStayOpen opens a door again each time that its other end goes away, whatever the attempts meet.
func TestDoorsStayOpen(t *testing.T) {
	w, k := newWorld(t)
	opened := make(chan error)
	go func() { opened <- k.Open(t.Context(), "sb-1") }()
	w.opens <- nil
	s := <-w.served
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	if err := k.Open(t.Context(), "sb-1"); err != nil { // it is open
		t.Error(err)
	}
	s.Close()
	w.opens <- errors.New("its process 1 is slow") // after a pause
	w.opens <- nil
	s = <-w.served
	k.Rest("sb-1")
	s.Close()
	d := k.doors["sb-1"]
	for k.isOpen(d) {
		runtime.Gosched()
	}
	if next := k.look(d); next != wait.Never { // an attempt would wait for an answer
		t.Errorf("the door of a sandbox that is paused is looked at again in %s", next)
	}
	k.Ensure("sb-1")
	w.opens <- nil
	<-w.served
	k.Forget("sb-1")
	if id := <-w.forgot; id != "sb-1" {
		t.Error(id)
	}
	k.Ensure("sb-1")
	if err := k.Open(t.Context(), "sb-1"); err != nil {
		t.Errorf("of a sandbox that has ended: %v", err)
	}
}

// TestOpenSaysWhyNot, so that a sandbox without the network that its template asks for is not handed out.
func TestOpenSaysWhyNot(t *testing.T) {
	w, k := newWorld(t)
	old := errdefs.ErrFailedPrecondition.WithMessage("the init of this sandbox is of an older release")
	opened := make(chan error)
	go func() { opened <- k.Open(t.Context(), "sb-1") }()
	w.opens <- old
	if err := <-opened; !errdefs.IsFailedPrecondition(err) {
		t.Errorf("opened with %v", err)
	}
	if err := k.Set("sb-1", "{"); err == nil {
		t.Error("a label that nobody wrote is taken")
	}
	if err := k.Open(t.Context(), "sb-2"); err != nil {
		t.Errorf("of a sandbox without a network: %v", err)
	}
}

// TestADoorMayLeadNowhere is for a sandbox that waited in the pool while its template lost its network: what it had does not stay.
func TestADoorMayLeadNowhere(t *testing.T) {
	w, k := newWorld(t)
	if err := k.Set("sb-2", ""); err != nil || len(w.set) != 1 {
		t.Errorf("a sandbox without a door was given one: %v, %v", w.set, err)
	}
	if err := k.Set("sb-1", rules); err != nil || w.sets != 1 {
		t.Errorf("what was set already was set %d times, %v", w.sets, err)
	}
	if err := k.Set("sb-1", ""); err != nil || len(w.set) != 0 {
		t.Errorf("it may connect to %v, %v", w.set, err)
	}
	if err := k.Set("sb-1", "{"); err == nil {
		t.Error("what cannot be read was taken for rules")
	}
}

// TestADoorThatEndsSoon is opened again after a pause: a sandbox that ends its doors does not keep the host busy.
func TestADoorThatEndsSoon(t *testing.T) {
	usual := attempts
	t.Cleanup(func() { attempts = usual })
	attempts = wait.Backoff{First: time.Hour, Last: time.Hour}
	w, k := newWorld(t)
	k.Ensure("sb-1")
	w.opens <- nil
	(<-w.served).Close()
	d := k.doors["sb-1"]
	for k.isOpen(d) {
		runtime.Gosched()
	}
	for end := d.loop.Rounds() + 2; d.loop.Rounds() < end; runtime.Gosched() {
		select {
		case w.opens <- errors.New("too soon"):
			t.Fatal("it was opened again at once")
		default:
		}
	}
	k.Ensure("sb-1") // as it is resumed
	w.opens <- nil
	<-w.served
}

// TestADoorThatIsTooLate has nothing served for a sandbox, or by a keeper, that has ended while the door was opened.
func TestADoorThatIsTooLate(t *testing.T) {
	for what, end := range map[string]func(k *Keeper){"sandbox": func(k *Keeper) { k.Forget("sb-1") }, "keeper": (*Keeper).Close} {
		w, k := newWorld(t)
		opened := make(chan error)
		opening := make(chan struct{})
		k.Options.Open = func(ctx context.Context, id string) (in, out *os.File, err error) {
			close(opening)
			return w.open(ctx, id)
		}
		go func() { opened <- k.Open(t.Context(), "sb-1") }()
		<-opening
		end(k)
		w.opens <- nil
		if err := <-opened; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: opened with %v", what, err)
		}
	}
}
