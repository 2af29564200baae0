package door

import (
	"errors"
	"sync"

	"sandpool/runtime/door"
)

// join carries all between a stream and a connection until both ways have ended, and closes both. A half-closed end half-closes the other, and one that
// is reset resets the other. So does a session that is lost: an end like any other would say that all has come.
func join(st *door.Stream, c *socket) {
	var up sync.WaitGroup
	up.Go(func() {
		if _, err := st.ReadFrom(c); err == nil {
			_ = st.CloseWrite()
		} else {
			st.Reset() // unless it is the stream that has ended
		}
	})
	_, err := st.WriteTo(c)
	broken := errors.Is(err, door.ErrReset) || errors.Is(err, door.ErrLost)
	if err == nil && c.CloseWrite() == nil {
		<-st.Silent()
		_, err = st.Write(nil)
		broken = errors.Is(err, door.ErrReset)
	}
	if broken {
		_ = c.SetLinger(0)
	}
	st.Reset()
	_ = c.Close() // who reads it ends
	up.Wait()
}
