package hostproc

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A process lives until it has ended, which it has before it is reaped. Its name may look like the rest of its line, and one that has its
// pid later is another.
func TestAliveUntilItsEnd(t *testing.T) {
	program := filepath.Join(t.TempDir(), "x) Z 1 2 (")
	if err := os.Symlink("/bin/cat", program); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		end  func(p Process, hangUp func() error) (lived bool, _ error)
	}{
		{"by itself", func(p Process, hangUp func() error) (bool, error) { return true, hangUp() }},
		{"killed", func(p Process, _ func() error) (bool, error) { return p.End(t.Context()) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			p, found := Look(cmd.Process.Pid)
			other := p
			other.started--
			if !found || !p.Alive() || other.Alive() {
				t.Errorf("found %v, alive %v, another alive %v", found, p.Alive(), other.Alive())
			}
			if lived, err := other.End(t.Context()); lived || err != nil || !p.Alive() {
				t.Errorf("another is ended: it lived %v, %v, and this one lives %v", lived, err, p.Alive())
			}
			if lived, err := test.end(p, in.Close); !lived || err != nil {
				t.Errorf("it lived %v, %v", lived, err)
			}
			if err := p.Await(t.Context()); err != nil || p.Alive() {
				t.Errorf("it has ended: alive %v, %v", p.Alive(), err)
			}
			_ = in.Close()
			_ = cmd.Wait() // which says that it was killed
			if lived, err := p.End(t.Context()); lived || err != nil || p.Alive() {
				t.Errorf("it was reaped: ended again %v, %v", lived, err)
			}
		})
	}
}
