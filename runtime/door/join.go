package door

import (
	"errors"
	"io"
	"sync"
)

// Conn is what a stream is joined to: a *net.TCPConn, or a socket of a sandbox.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetLinger(seconds int) error // with 0 a Close resets the connection
}

// Join carries all between a stream and a connection until both ways have ended, and closes both. A half-closed end half-closes the other, and one that
// is reset resets the other. So does a session that is lost: an end like any other would say that all has come.
func Join(st *Stream, c Conn) (sent, received int64) {
	var up sync.WaitGroup
	up.Go(func() {
		var err error
		sent, err = st.ReadFrom(c)
		switch {
		case err == nil:
			_ = st.CloseWrite()
		case !isClosed(st.Silent()): // it is the connection's
			st.Reset()
		}
	})
	received, err := st.WriteTo(c)
	broken := errors.Is(err, ErrReset) || errors.Is(err, ErrLost)
	if err == nil && c.CloseWrite() == nil {
		<-st.Silent()
		err = st.whyShut()
		broken = errors.Is(err, ErrReset)
	}
	if broken {
		_ = c.SetLinger(0)
	}
	if !errors.Is(err, errShut) {
		st.Reset()
		_ = c.Close() // who reads it ends
	}
	up.Wait()
	_, _ = st.Close(), c.Close()
	return sent, received
}
