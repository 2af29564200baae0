package api

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// failWhileSending answers with err a client that still sends.
func (a *api) failWhileSending(w http.ResponseWriter, r *http.Request, err error) error {
	if broken := http.NewResponseController(w).EnableFullDuplex(); broken != nil { // else net/http reads the body before it answers
		return errors.Join(err, broken)
	}
	w.Header().Set("Connection", "close")
	a.fail(w, r, err)
	readOn(r)
	return nil
}

// readOn reads on for a moment, past net/http, whose reader keeps the first error: a client that finds the connection closed while it sends may
// not look for the answer.
func readOn(r *http.Request) {
	conn, ok := r.Context().Value(connKey{}).(*refusingConn)
	if ok && conn.SetReadDeadline(time.Now().Add(turnAwayTime)) == nil {
		_, _ = io.Copy(io.Discard, conn.UnixConn)
		_ = conn.SetReadDeadline(time.Unix(1, 0)) // long past, so that net/http reads no more
	}
}
