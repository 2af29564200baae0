package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
)

func TestFirstLineIsKept(t *testing.T) {
	for _, sent := range []string{"12\nrest", "12\r\nrest"} {
		var passed bytes.Buffer
		f := &firstLine{then: &passed, line: make(chan string, 1)}
		p := &shimProcess{result: newResult()}
		for rest := iotest.OneByteReader(bytes.NewReader([]byte(sent))); ; {
			b := make([]byte, 8)
			n, err := rest.Read(b)
			if err != nil {
				break
			}
			if _, err := f.Write(b[:n]); err != nil {
				t.Fatal(err)
			}
		}
		if pid, err := p.awaitPID(t.Context(), f.line); pid != 12 || err != nil || passed.String() != "rest" {
			t.Errorf("%q: process %d, %v, and %q is passed on", sent, pid, err, passed.String())
		}
	}
}

// TestInitOfAnOlderRelease ends without a word of its process id.
func TestInitOfAnOlderRelease(t *testing.T) {
	p := &shimProcess{result: newResult()}
	p.end(2, nil)
	if _, err := p.awaitPID(t.Context(), make(chan string)); !errors.Is(err, errOldInit) {
		t.Errorf("%v, want that the init is old", err)
	}
}

func TestCommandBeginsOnlyWhenItWasStarted(t *testing.T) {
	for name, test := range map[string]struct {
		started, tty bool
		in, want     string
	}{
		"started":                 {true, false, "rest", "\nrest"},
		"not started":             {false, false, "rest", ""},
		"terminal":                {true, true, "line\n", "\x04line\n\x04"},
		"terminal with half line": {true, true, "rest", "\x04rest\x04\x04"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ends := 0
				in := &input{reader: strings.NewReader(test.in), goAhead: goAheadByte(test.tty), tty: test.tty, started: make(chan bool, 1), atEnd: func() { ends++ }}
				var got bytes.Buffer
				var copying sync.WaitGroup
				copying.Go(func() { _, _ = io.Copy(&got, in) })
				synctest.Wait()
				if got.Len() > 0 || ends > 0 {
					t.Errorf("%q was sent before the start", got.String())
				}
				in.started <- test.started
				copying.Wait()
				if got.String() != test.want || (ends == 1) != test.started {
					t.Errorf("sent %q and told of %d ends, want %q", got.String(), ends, test.want)
				}
			})
		})
	}
}

// slowContainer has a shim that containerd gives up on a few times.
type slowContainer struct {
	client.Container
	slow int
	err  error
}

func (c *slowContainer) Task(context.Context, cio.Attach) (client.Task, error) {
	if c.slow--; c.slow >= 0 {
		return nil, fmt.Errorf("get state: %w", context.DeadlineExceeded)
	}
	return nil, c.err
}

func TestSlowShimIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, err := loadTask(t.Context(), &slowContainer{slow: 3}); err != nil {
			t.Errorf("a shim that was slow three times: %v", err)
		}
		if _, err := loadTask(t.Context(), &slowContainer{err: errdefs.ErrNotFound}); !errdefs.IsNotFound(err) {
			t.Errorf("a task that there is not: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := loadTask(ctx, &slowContainer{slow: 1 << 30}); !errdefs.IsDeadlineExceeded(err) || ctx.Err() == nil { //nolint:forbidigo // whether, not why
			t.Errorf("a shim that is always slow: %v", err)
		}
	})
}
