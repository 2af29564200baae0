package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"sandpool/daemon/wire"
)

// refusingListener accepts the connections that there is room for. On them net/http's own refusals get the shape that all errors have.
type refusingListener struct {
	net.Listener

	room  *connections
	write time.Duration
}

func (l refusingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		unixConn, ok := conn.(*net.UnixConn)
		if !ok {
			return nil, errors.Join(fmt.Errorf("accept: want a unix socket, have a %T", conn), conn.Close())
		}
		refusing := &refusingConn{UnixConn: unixConn, write: l.write}
		if err := l.room.admit(refusing); err != nil {
			l.room.turnAway(unixConn, err)
			continue
		}
		return refusing, nil
	}
}

// refusingConn is a connection of which net/http refuses by itself what it does not take for a request.
type refusingConn struct {
	*net.UnixConn

	who   actor
	leave func()        // gives its place to another
	write time.Duration // how long the client may take to receive what is written at once

	answering atomic.Bool // a handler has the request, and all that is written is its answer
}

// takeOver notes that a request was none for net/http to refuse.
func takeOver(r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(*refusingConn); ok {
		conn.answering.Store(true)
	}
}

// Close implements net.Conn.
func (c *refusingConn) Close() error {
	c.leave()
	return c.UnixConn.Close()
}

// Write sends what it is given, for which the client has so long. A refusal of its own net/http writes at once.
func (c *refusingConn) Write(data []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
		return 0, err
	}
	status, reason, is := refusal(data)
	if c.answering.Load() || !is {
		return c.UnixConn.Write(data)
	}
	if _, err := c.UnixConn.Write(refuse(noRequest(status, reason))); err != nil {
		return 0, err
	}
	return len(data), nil
}

// refusal takes apart what net/http answers by itself.
func refusal(data []byte) (status int, reason string, is bool) {
	line, _, _ := bytes.Cut(data, []byte("\r\n"))
	code, isAnswer := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !isAnswer || len(code) < 3 {
		return 0, "", false
	}
	status, err := strconv.Atoi(string(code[:3]))
	return status, string(bytes.TrimSpace(code[3:])), err == nil
}

// noRequest says of what net/http refuses what is wrong with it.
func noRequest(status int, reason string) wire.Error {
	answer := wire.Error{Status: status, Code: wire.CodeInvalidArgument, Message: fmt.Sprintf("no request of this API: %s", reason)}
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		answer.Code, answer.Message = "too_large", fmt.Sprintf("the request's headers are over the limit of %d bytes: send fewer", maxHeader)
	case http.StatusExpectationFailed:
		answer.Message = "the header Expect asks for something else than 100-continue: leave it out"
	}
	return answer
}

// refuse is an answer in the shape of all errors, the last one of its connection.
func refuse(answer wire.Error) []byte {
	again := ""
	if passes(answer.Status) {
		again = "Retry-After: 1\r\n"
	}
	body, _ := json.Marshal(answer) // numbers and text
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n%s\n",
		answer.Status, http.StatusText(answer.Status), len(body)+1, again, body)
}
