package files

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sandpool/daemon/wire"
)

// errTaken ends the answer to a client when another one goes on with its watch, as one does whose connection broke without a word.
var errTaken = errors.New("another client goes on with this watch")

// Serve answers with the changes of a file or a folder, a line of JSON each, until the client hangs up, the daemon stops or what is watched is
// gone. The watch itself goes on for KeptTime when its client has gone: who comes again with a cursor of it misses nothing, or is told how much. With any
// other cursor it is told first that something may be lost.
func (ws *Watches) Serve(w http.ResponseWriter, r *http.Request, start Start, op Op) error {
	after := op.Args["after"]
	delete(op.Args, "after")
	claim := r.PathValue("id")
	return serve(w, "application/x-ndjson", func(out io.Writer) error {
		visit, err := ws.resume(claim, op, after)
		if err == nil && visit == nil {
			first := wire.FileBegun
			if after != "" {
				first = wire.FileLost
			}
			visit, err = ws.begin(r.Context(), claim, start, op, first)
		}
		if err != nil {
			return err
		}
		defer visit.leave()
		flush := http.NewResponseController(w).Flush
		_, err = out.Write(nil) // the answer begins, whenever the next change comes
		if err = errors.Join(err, flush()); err != nil {
			return err
		}
		return visit.follow(r.Context(), json.NewEncoder(out), flush)
	})
}

// begin starts a watch. Its client may leave it until it has begun.
func (ws *Watches) begin(ctx context.Context, claim string, start Start, op Op, first wire.FileEventKind) (*visit, error) {
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	unbind := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	s, err := begin(life, start, op)
	if err != nil {
		end(nil)
		return nil, err
	}
	line, err := s.line()
	if err == nil && line != "+" {
		err = badAnswer(line)
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = nil // the init says why it could not
		}
		err = cmp.Or(s.end(err), badAnswer(line)) // it may have ended well, without a word
		end(nil)
		return nil, err
	}
	unbind()
	w := &watched{of: ws, id: rand.Text(), claim: claim, subject: subject(op), end: end}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.enterLocked(w)
	w.addLocked(change{kind: first, name: ".", time: time.Now()})
	visit := w.attachLocked(1)
	ws.under.Go(func() { w.run(s) })
	return visit, nil
}

// resume goes on behind an event of a watch that is kept still. There is none if its cursor is not known.
func (ws *Watches) resume(claim string, op Op, after string) (*visit, error) {
	id, number, _ := strings.Cut(after, "-")
	seen, err := strconv.Atoi(number)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.all[id]
	if err != nil || w == nil || w.claim != claim || seen < 0 || seen >= w.nextLocked() {
		return nil, nil //nolint:nilnil // a new one begins
	}
	if w.subject != subject(op) {
		return nil, invalid("query: after: the cursor is of a watch of something else: want the same path, recursive and user")
	}
	return w.attachLocked(seen + 1), nil
}

// subject says what an operation watches, and as whom.
func subject(op Op) string { return fmt.Sprintf("%q %q", op.User, op.Args) }

// run keeps what the init tells of until it ends.
func (w *watched) run(s *session) {
	var err error
	for err == nil {
		var line string
		if line, err = s.line(); err == nil {
			err = w.pass(line)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil // what is watched is gone, or the init says why it could not
	}
	w.over(s.end(err))
	w.end(nil)
}

// pass keeps what the init tells of in a line.
func (w *watched) pass(line string) error {
	words := strings.SplitN(line, " ", 3)
	if len(words) != 3 || !wire.IsFileEvent(words[0]) {
		return badAnswer(line)
	}
	name, err := strconv.Unquote(words[2])
	if err != nil {
		return badAnswer(line)
	}
	w.add(change{kind: wire.FileEventKind(words[0]), name: name, folder: words[1] == "d", time: time.Now()})
	return nil
}

// follow sends changes until there are no more, or ctx ends.
func (v *visit) follow(ctx context.Context, to *json.Encoder, flush func() error) error {
	defer context.AfterFunc(ctx, v.w.of.wake)()
	for {
		c, number, err := v.next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e := wire.FileEvent{Cursor: fmt.Sprintf("%s-%d", v.w.id, number), Time: c.time.UTC(), Kind: c.kind, Folder: c.folder, Dropped: c.dropped}
		e.Path, e.PathBytes = wire.Text(c.name)
		if err := errors.Join(to.Encode(e), flush()); err != nil {
			return err
		}
	}
}
