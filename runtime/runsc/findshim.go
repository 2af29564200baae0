package runsc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/procfs"

	"sandpool/runtime/hostproc"
)

// AutoShim stands for the first of shims that containerd finds.
const AutoShim = "auto"

// shims are containerd's names of the project's own shim, which costs nothing while its sandbox rests, and of gVisor's.
var shims = []string{"io.containerd.sandpool.v1", "io.containerd.runsc.v1"}

// FindShim looks for a shim, by containerd's name of the runtime, an absolute path or AutoShim, where the containerd of a process does: in its
// PATH, then beside its own program. It returns what containerd is to be told. That there is none is an error.
func FindShim(shim string, containerd int) (string, error) {
	if shim != AutoShim {
		return shim, findShim(shim, containerd)
	}
	var err error
	for _, shim = range shims {
		if err = findShim(shim, containerd); err == nil {
			break
		}
	}
	return shim, err
}

func findShim(shim string, containerd int) error {
	root := hostproc.Root(containerd)
	if filepath.IsAbs(shim) {
		_, err := os.Stat(filepath.Join(root, shim))
		return err
	}
	proc, err := procfs.NewProc(containerd)
	if err != nil {
		return fmt.Errorf("find containerd's process: %w", err)
	}
	environment, err := proc.Environ()
	if err != nil {
		return fmt.Errorf("read containerd's PATH: %w", err)
	}
	program, err := proc.Executable()
	if err != nil {
		return fmt.Errorf("find containerd's program: %w", err)
	}
	dirs := ""
	for _, entry := range environment {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			dirs = value
		}
	}
	name := shimName(shim)
	for _, dir := range append(filepath.SplitList(dirs), filepath.Dir(program)) {
		if info, err := os.Stat(filepath.Join(root, dir, name)); err == nil && info.Mode()&0o111 != 0 {
			return nil
		}
	}
	return fmt.Errorf("%s is not in containerd's PATH, %s", name, dirs)
}

// shimName is the program of a runtime: containerd-shim-runsc-v1 of io.containerd.runsc.v1.
func shimName(runtime string) string {
	parts := strings.Split(runtime, ".")
	if len(parts) < 2 {
		return runtime
	}
	return "containerd-shim-" + strings.Join(parts[len(parts)-2:], "-")
}
