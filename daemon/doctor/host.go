package doctor

import (
	"time"

	"github.com/moby/sys/capability"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/runtime"
)

// Host is what the checks look at.
type Host struct {
	Config        configs.Config
	ConfigPath    string
	ConfigErr     error
	ConfigMissing bool // there is no file, and nobody named one

	Root         bool
	Kernel       string                  // release
	CgroupV2     bool                    // the only hierarchy
	Controllers  []string                // of cgroups
	Namespaces   []string                // kinds that the kernel has
	UserLimit    uint64                  // of user namespaces
	Capabilities map[capability.Cap]bool // of this process
	KVM          error                   // why /dev/kvm cannot be opened
	NIC          error                   // why sandboxes cannot have interfaces, where a template wants them
	Stack        runtime.Inspection      // of containerd and runsc
	StackErr     error                   // why the look at them was broken off
	Daemon       *wire.Info              // nil: no daemon answers
	DaemonErr    error                   // why not
	Sandboxes    int                     // that the daemon's pools hold
	FileLimit    uint64                  // open files of the daemon, or of this process while it is down
	Inotify      uint64                  // instances that one user may have
	StateOnDisk  bool                    // the file system of the daemon's state folder is not one in memory
	CNI          []string                // plugins that are installed
	Synchronised bool                    // the clock follows a time server
	ClockErr     error                   // why that is not known
	ClockStep    time.Duration           // how far the clock was set while the host was looked at
	Unit         map[string]string       // properties of sandpoold.service; nil: there is no systemd
	UnitErr      error                   // why they are not known
}
