package files

import (
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

// ServeWatch answers with the changes of a file or a folder, a line of JSON each, until the client hangs up, the daemon stops or what is watched is
// gone. Nothing is kept of what happens while nobody watches, so that who comes again with a cursor is told first that something may be lost.
func ServeWatch(w http.ResponseWriter, r *http.Request, start Start, op Op) error {
	first := wire.FileBegun
	if op.Args["after"] != "" {
		first = wire.FileLost
	}
	delete(op.Args, "after")
	return serve(w, "application/x-ndjson", func(out io.Writer) error {
		feed := feed{encoder: json.NewEncoder(out), flush: http.NewResponseController(w).Flush, id: rand.Text()}
		s, err := begin(r.Context(), start, op)
		if err != nil {
			return err
		}
		line, err := s.line()
		if err == nil && line != "+" {
			err = badAnswer(line)
		}
		if err == nil {
			err = feed.send(wire.FileEvent{Kind: first, Path: "."})
		}
		for err == nil {
			if line, err = s.line(); err == nil {
				err = feed.pass(line)
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil // what is watched is gone, or the init says why it could not
		}
		return s.end(err)
	})
}

// feed numbers events.
type feed struct {
	encoder *json.Encoder
	flush   func() error
	id      string
	last    int
}

func (f *feed) send(e wire.FileEvent) error {
	f.last++
	e.Cursor, e.Time = fmt.Sprintf("%s-%d", f.id, f.last), time.Now().UTC()
	return errors.Join(f.encoder.Encode(e), f.flush())
}

// pass sends what the init tells of in a line.
func (f *feed) pass(line string) error {
	words := strings.SplitN(line, " ", 3)
	if len(words) != 3 || !wire.IsFileEvent(words[0]) {
		return badAnswer(line)
	}
	name, err := strconv.Unquote(words[2])
	if err != nil {
		return badAnswer(line)
	}
	e := wire.FileEvent{Kind: wire.FileEventKind(words[0]), Folder: words[1] == "d"}
	e.Path, e.PathBytes = wire.Text(name)
	return f.send(e)
}
