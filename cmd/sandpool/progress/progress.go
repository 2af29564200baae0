// Package progress says on a terminal what takes long.
package progress

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

const (
	// after is what takes so long is told of.
	after = time.Second
	// clear takes the line back.
	clearLine = "\r\x1b[K"
)

// Begin says on a terminal what is under way, and for how long, once that takes over a second, until the returned function is called.
// Where to is no terminal it says nothing.
func Begin(to io.Writer, what string) (end func()) {
	file, ok := to.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return func() {}
	}
	begun, stop, ended := time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticks := time.NewTicker(after)
		defer ticks.Stop()
		for told := false; ; told = true {
			select {
			case <-ticks.C:
				_, _ = fmt.Fprintf(file, "%s%s … %s", clearLine, what, time.Since(begun).Round(time.Second))
			case <-stop:
				if told {
					_, _ = io.WriteString(file, clearLine)
				}
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}
