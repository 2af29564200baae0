package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"sandpool/daemon/wire"
)

// Machine is what a measurement depends on.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Kernel     string `json:"kernel"`
	Runsc      string `json:"runsc"`
	Platform   string `json:"platform"`
	Containerd string `json:"containerd"`
	Load       string `json:"load"` // average of the minute before
	Date       string `json:"date"`
}

// thisMachine describes the host, which the daemon shares.
func thisMachine(info wire.Info) Machine {
	cpus, _ := os.ReadFile("/proc/cpuinfo") // what cannot be read is unknown
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	loads, _ := os.ReadFile("/proc/loadavg")
	load, _, _ := strings.Cut(string(loads), " ")
	return Machine{
		CPU:        cmp.Or(cpuModel(cpus), "unknown "+runtime.GOARCH),
		Cores:      runtime.NumCPU(),
		Kernel:     cmp.Or(strings.TrimSpace(string(kernel)), "unknown"),
		Runsc:      info.Runsc,
		Platform:   info.Platform,
		Containerd: info.Containerd,
		Load:       cmp.Or(load, "unknown"),
		Date:       time.Now().UTC().Format(time.DateOnly),
	}
}

// cpuModel finds the first model name in the text of /proc/cpuinfo; some architectures have none.
func cpuModel(cpuinfo []byte) string {
	for lines := bufio.NewScanner(bytes.NewReader(cpuinfo)); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, Linux %s, runsc %s, %s, containerd %s, load %s, %s",
		m.CPU, m.Cores, m.Kernel, m.Runsc, m.Platform, m.Containerd, m.Load, m.Date)
}
