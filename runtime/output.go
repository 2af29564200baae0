package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sandpool/runtime/command"
	"sandpool/runtime/template"
)

// outputTime is how long the last words of a command may take to come, once a sandbox has failed.
const outputTime = time.Second

var errEnded = errors.New("the template's command ended")

// endWatch waits in a sandbox for the end of the template's command, while the sandbox is made ready.
type endWatch struct {
	ctx    context.Context //nolint:containedctx // ends with the command: of what waits for the command to be ready
	cancel context.CancelCauseFunc
	begun  chan struct{}     // closed when it waits in the sandbox
	over   chan struct{}     // closed when the command has ended, or cannot be watched; nil until begin
	said   command.LastWords // by which the init says that it runs and that it has ended, and then what the command wrote last
	heard  sync.Once
}

func newEndWatch(ctx context.Context) *endWatch {
	w := &endWatch{begun: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	return w
}

// begin returns when the command is watched, or cannot be. A template that has nothing to wait for is not watched, nor is anything by nil.
func (w *endWatch) begin(e *Engine, id string, t *Prepared) {
	if w == nil || t.command == "" || len(t.Prewarm) == 0 && t.ReadyCommand == "" && t.ReadyPort == 0 {
		return
	}
	w.over = make(chan struct{})
	p, err := e.Exec(w.ctx, id, ExecSpec{Args: []string{template.InitPath, "ended"}, Stdout: w})
	if err != nil {
		e.log.Debug("the template's command is not watched", "sandbox", id, "err", err)
		close(w.over)
		return
	}
	go func() {
		defer close(w.over)
		if code, err := p.Wait(w.ctx); err != nil || code == 0 {
			w.cancel(errEnded)
		}
	}()
	select {
	case <-w.begun:
	case <-w.over:
	}
}

func (w *endWatch) Write(b []byte) (int, error) {
	w.heard.Do(func() { close(w.begun) })
	return w.said.Write(b)
}

// explain adds to an error what the command wrote last, if it has ended.
func (w *endWatch) explain(err error) error {
	if w == nil || w.over == nil || err == nil {
		return err
	}
	select {
	case <-w.over:
	case <-time.After(outputTime):
	}
	var said command.LastWords
	_, _ = said.Write(bytes.TrimLeft(w.said.Bytes(), "+-"))
	return withOutput(err, &said)
}

// stop ends the watch.
func (w *endWatch) stop() {
	w.cancel(nil)
	if w.over != nil {
		<-w.over
	}
}

// withOutput adds to an error the last that a command wrote, if it wrote anything.
func withOutput(err error, said *command.LastWords) error {
	if end := said.End(); end != "" {
		return fmt.Errorf("%w; it wrote last: %s", err, end)
	}
	return err
}
