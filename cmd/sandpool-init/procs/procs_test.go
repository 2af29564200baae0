package procs

import (
	"os"
	"slices"
	"testing"

	"sandpool/runtime/supervisor/protocol"
)

// TestLookAt looks at this process.
func TestLookAt(t *testing.T) {
	numbers, err := Numbers()
	if err != nil || !slices.Contains(numbers, os.Getpid()) {
		t.Fatalf("%v, %v", numbers, err)
	}
	p, there := LookAt(protocol.Process{PID: os.Getpid()}, BootTime())
	if !there || p.Memory < 1<<20 || p.State == "" || !slices.Equal(p.Args, os.Args) || p.Started.IsZero() {
		t.Errorf("%+v", p)
	}
	if _, there := LookAt(protocol.Process{PID: 1 << 30}, BootTime()); there {
		t.Error("it sees what is not there")
	}
	if got := Shown([]string{"a", string(make([]byte, 2*maxShownArgs)), "b"}); len(got) != 2 || len(got[1]) != maxShownArgs-1 {
		t.Errorf("%d words", len(got))
	}
}
