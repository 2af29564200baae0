// Package testhost runs a private containerd in a folder of its own, for the tests and for the demo.
//
// Nothing of it is shared with a containerd that the machine may already run, and Close leaves nothing behind.
// A host whose owner was killed is removed by the next Start. Only root can start one.
package testhost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultNamespace is the containerd namespace of a host that was given none.
const DefaultNamespace = "sandpool"

const (
	startTimeout = 90 * time.Second
	stopTimeout  = 30 * time.Second
	cleanTimeout = 90 * time.Second
)

// Options configure a host. The zero value is a good one.
type Options struct {
	// Namespace is the containerd namespace, and so the name of the host's cgroups.
	// Hosts that run at the same time need different ones. Empty means DefaultNamespace.
	Namespace string
	// Disk is the size in bytes of a file system of its own that containerd's root then lies on; only containerd sees it.
	// 0 puts the root on the file system of the host's folder.
	Disk uint64
	// Systemd starts a systemd of its own instead of containerd, which is then for the test to start by a unit.
	Systemd bool
}

// Host is a running containerd with a folder of its own.
type Host struct {
	Dir       string // the host's folder; its path is short because socket paths end at 107 bytes
	Address   string // containerd's socket
	Namespace string

	Runsc string // programs of the stack, as absolute paths
	Shim  string
	Ctr   string
	Init  string // the project's sandpool-init, as `make build` leaves it
	Image string // the default image's archive, as `make image` leaves it

	Python string // the archive of sandpool.local/python:1, which adds CPython 3 and uuidgen to the default image

	stack   string
	systemd *Process // nil on a host without
	lock    *os.File // held while the host lives; a free one marks a stale host
	run     *os.File // a shared lock on the run folder of containerd's shims
	ns      *namespaces

	mu         sync.Mutex // guards what follows
	containerd *Process
	processes  []*Process
	ids        map[string]struct{} // containers seen, for Leftovers
}

// validNamespace is containerd's rule. It also keeps the cgroup folder inside the hierarchy.
var validNamespace = regexp.MustCompile(`^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$`)

// Start starts containerd and returns when it answers. It removes stale hosts first.
//
// The stack's programs come from the folder that SANDPOOL_STACK names, or from .build/stack in the checkout.
func Start(ctx context.Context, opts Options) (*Host, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("start test host: only root can")
	}
	h, err := newHost(opts)
	if err != nil {
		return nil, fmt.Errorf("start test host: %w", err)
	}
	if err := h.open(ctx, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("start test host: %w", err), h.Close())
	}
	return h, nil
}

// Find returns a host that is not started: where the programs are that one runs. It makes no change to the machine.
func Find() (*Host, error) { return newHost(Options{}) }

// newHost finds the programs and makes no change to the machine.
func newHost(opts Options) (*Host, error) {
	h := &Host{Namespace: cmp.Or(opts.Namespace, DefaultNamespace), ids: map[string]struct{}{}}
	if !validNamespace.MatchString(h.Namespace) {
		return nil, fmt.Errorf("namespace %q: want letters and digits, joined by single '.', '_' or '-'", h.Namespace)
	}
	root, err := checkout()
	if err != nil {
		return nil, err
	}
	h.Init = filepath.Join(root, ".build", "bin", "sandpool-init")
	h.Image = filepath.Join(root, ".build", "images", "busybox.tar")
	h.Python = filepath.Join(root, ".build", "images", "python.tar")
	if h.stack = os.Getenv("SANDPOOL_STACK"); h.stack == "" {
		h.stack = filepath.Join(root, ".build", "stack")
	}
	for name, path := range map[string]*string{
		"runsc": &h.Runsc, "containerd-shim-runsc-v1": &h.Shim, "ctr": &h.Ctr, "containerd": new(string),
	} {
		if *path, err = exec.LookPath(filepath.Join(h.stack, name)); err != nil {
			return nil, fmt.Errorf("find %s: %w (`make stack` builds it)", name, err)
		}
	}
	return h, nil
}

func (h *Host) open(ctx context.Context, opts Options) error {
	if err := h.makeDir(ctx); err != nil {
		return err
	}
	if opts.Systemd {
		return h.boot(ctx)
	}
	var err error
	if h.run, err = holdRunFolder(); err != nil {
		return err
	}
	if h.ns, err = newNamespaces(h.Dir, opts.Disk); err != nil {
		return err
	}
	return h.StartContainerd(ctx)
}

// Close stops what runs on the host and removes all that belongs to it. Its error names what could not be removed, and the
// data races that programs reported.
func (h *Host) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
	defer cancel()
	h.mu.Lock()
	processes := h.processes
	h.processes, h.containerd = nil, nil
	h.mu.Unlock()
	// The last to start stops first: the daemon, then containerd.
	if h.systemd != nil {
		h.systemd.Kill() // and with it all that it started
	}
	for _, p := range slices.Backward(processes) {
		_ = p.Stop(stopTimeout) // killed if it must be; its exit code is the caller's matter
	}
	h.noteContainers()
	var err error
	if h.Dir != "" {
		err = errors.Join(races(h.Dir), remove(ctx, h.Dir, h.Namespace, h.containerIDs()))
	}
	h.ns.close()
	closeFile(h.lock)
	if h.run != nil {
		releaseRunFolder(h.run)
	}
	h.ns, h.lock, h.run = nil, nil, nil
	if left := h.Leftovers(); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("test host left behind:\n  %s", strings.Join(left, "\n  ")))
	}
	return err
}

// Logs writes the last lines of every log in the host's folder to w: what to read after a failure.
func (h *Host) Logs(w io.Writer, lines int) {
	paths, _ := filepath.Glob(filepath.Join(h.Dir, "*.log"))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
		fmt.Fprintf(w, "--- %s\n%s\n", path, strings.Join(all[max(0, len(all)-lines):], "\n"))
	}
}

// Command returns a ctr command on the host's containerd and namespace.
func (h *Host) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, h.Ctr, append([]string{"--address", h.Address, "--namespace", h.Namespace}, args...)...)
}

// Run returns a ctr command that runs a container on gVisor. The arguments are those of `ctr run`: options, image, id, command.
func (h *Host) Run(ctx context.Context, args ...string) *exec.Cmd {
	// Without the annotation the shim hangs: it waits for an end of output that the sandbox keeps open.
	return h.Command(ctx, append([]string{"run", "--runtime", "io.containerd.runsc.v1", "--runtime-config-path", filepath.Join(h.Dir, runscFile),
		"--annotation", "io.kubernetes.cri.container-type=sandbox"}, args...)...)
}

// Remove kills and deletes a container that Run started.
func (h *Host) Remove(ctx context.Context, id string) error {
	for _, args := range [][]string{{"tasks", "delete", "--force", id}, {"containers", "delete", id}} {
		if out, err := h.Command(ctx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("remove container %s: ctr %s: %w: %s", id, args[0], err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// Import brings an image archive into containerd and unpacks it.
func (h *Host) Import(ctx context.Context, archive string) error {
	out, err := h.Command(ctx, "images", "import", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("import %s: %w: %s", archive, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// checkout returns the folder of the project's go.mod, at or above the working folder.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find go.mod: not inside the checkout")
		}
		dir = parent
	}
}

func closeFile(f *os.File) {
	if f != nil {
		_ = f.Close()
	}
}
