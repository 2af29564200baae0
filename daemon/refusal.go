package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"sandpool/daemon/wire"
)

// refusingListener accepts connections on which net/http's own refusals get the shape that all errors have.
type refusingListener struct{ net.Listener }

func (l refusingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if unixConn, ok := conn.(*net.UnixConn); ok {
		return &refusingConn{UnixConn: unixConn}, err
	}
	return conn, err
}

// refusingConn is a connection of which net/http refuses by itself what it does not take for a request.
type refusingConn struct {
	*net.UnixConn

	answering atomic.Bool // a handler has the request, and all that is written is its answer
}

// takeOver notes that a request was none for net/http to refuse.
func takeOver(r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(*refusingConn); ok {
		conn.answering.Store(true)
	}
}

// bare returns the connection that the kernel knows.
func bare(conn net.Conn) net.Conn {
	if refusing, ok := conn.(*refusingConn); ok {
		return refusing.UnixConn
	}
	return conn
}

// Write sends what it is given. A refusal of its own net/http writes at once.
func (c *refusingConn) Write(data []byte) (int, error) {
	status, reason, is := refusal(data)
	if c.answering.Load() || !is {
		return c.UnixConn.Write(data)
	}
	if _, err := c.UnixConn.Write(refuse(status, reason)); err != nil {
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

// refuse is an answer in the shape of all errors.
func refuse(status int, reason string) []byte {
	answer := wire.Error{Status: status, Code: "invalid_argument", Message: fmt.Sprintf("no request of this API: %s", reason)}
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		answer.Code, answer.Message = "too_large", fmt.Sprintf("the request's headers are over the limit of %d bytes: send fewer", maxHeader)
	case http.StatusExpectationFailed:
		answer.Message = "the header Expect asks for something else than 100-continue: leave it out"
	}
	body, _ := json.Marshal(answer) // numbers and text
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n",
		status, http.StatusText(status), len(body)+1, body)
}
