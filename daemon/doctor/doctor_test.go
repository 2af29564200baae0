package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/capability"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/runtime"
	"sandpool/runtime/hostproc"
	"sandpool/runtime/nic"
)

// goodHost is a host on which every check is ok.
func goodHost() Host {
	h := Host{
		Config: configs.Default(), ConfigPath: "/etc/c.toml", Root: true, Kernel: "6.1.0-9-amd64", CgroupV2: true,
		Controllers: []string{"cpuset", "cpu", "memory", "pids"}, Namespaces: []string{"ipc", "mnt", "net", "pid", "user", "uts"},
		UserLimit: 1000, Capabilities: map[capability.Cap]bool{}, Daemon: &wire.Info{Version: "1", PID: 7}, FileLimit: 4096, Inotify: 1024,
		CNI: []string{"bridge"}, Synchronised: true, Unit: map[string]string{"LoadState": "loaded", "ActiveState": "active"},
	}
	for _, c := range capability.ListKnown() {
		h.Capabilities[c] = true
	}
	h.Stack = runtime.Inspection{
		Runsc: "release-20260601.0", Containerd: "v2.4.2",
		Canaries: []runtime.Canary{{Platform: "systrap", OK: true}, {Platform: "kvm", OK: true}, {Platform: "ptrace", OK: true}},
		Headroom: hostproc.Headroom{Memory: 1 << 40, Disk: 1 << 40, PIDs: 1 << 20, Files: 1 << 30},
	}
	return h
}

// wantNIC has a template ask for an interface, which cannot be had if there is an error.
func wantNIC(h *Host, err error) {
	h.Config.Templates = map[string]configs.Template{"t": {Network: configs.TemplateNetwork{Mode: "nic"}}}
	h.NIC = err
}

func TestGoodHost(t *testing.T) {
	names := map[string]bool{}
	for _, r := range Check(goodHost()) {
		if r.Level != OK || r.Repair != "" || r.Text == "" || names[r.Name] {
			t.Errorf("%+v", r)
		}
		names[r.Name] = true
	}
}

// TestBadHosts spoils one thing of a good host, and wants one check to tell.
func TestBadHosts(t *testing.T) {
	fault := errors.New("it\nbroke")
	kvmOnly := func(h *Host) {
		h.Config.Runsc.Platform = configs.Platforms{"kvm"}
		h.Stack.Canaries[1] = runtime.Canary{Platform: "kvm", Reason: "it broke"}
	}
	for _, c := range []struct {
		name  string
		level Level
		text  string
		spoil func(h *Host)
	}{
		{"configuration", Failure, "it; broke", func(h *Host) { h.ConfigErr = fault }},
		{"configuration", Info, "defaults", func(h *Host) { h.ConfigMissing = true }},
		{"user", Warning, "not root", func(h *Host) { h.Root = false }},
		{"interfaces", Failure, "forwards no packets", func(h *Host) { wantNIC(h, &nic.Lack{What: "this host forwards no packets", Mend: "sysctl"}) }},
		{"interfaces", Failure, "it; broke", func(h *Host) { wantNIC(h, fault) }},
		{"kernel", Failure, "too old", func(h *Host) { h.Kernel = "5.2.21" }},
		{"kernel", Failure, "too old", func(h *Host) { h.Kernel = "4.19.0-gvisor" }},
		{"kernel", Warning, "not understood", func(h *Host) { h.Kernel = "" }},
		{"cgroups", Failure, "v2 without cpu, pids", func(h *Host) { h.Controllers = []string{"memory"} }},
		{"cgroups", Failure, "v1 without cpu, memory, pids", func(h *Host) { h.CgroupV2, h.Controllers = false, nil }},
		{"namespaces", Failure, "user", func(h *Host) { h.Namespaces = []string{"ipc", "mnt", "net", "pid", "uts"} }},
		{"namespaces", Failure, "no user namespaces may be made", func(h *Host) { h.UserLimit = 0 }},
		{"capabilities", Failure, "CAP_SYS_ADMIN", func(h *Host) { h.Capabilities[capability.CAP_SYS_ADMIN] = false }},
		{"capabilities", Warning, "CAP_SYS_RESOURCE", func(h *Host) { h.Capabilities[capability.CAP_SYS_RESOURCE] = false }},
		{"capabilities", Info, "root", func(h *Host) { h.Root = false }},
		{"clock", Warning, "set by -2s", func(h *Host) { h.ClockStep = -2 * time.Second }},
		{"clock", Warning, "no time server", func(h *Host) { h.Synchronised = false }},
		{"clock", Info, "not known", func(h *Host) { h.ClockErr = fault }},
		{"unit", Info, "systemd", func(h *Host) { h.Unit = nil }},
		{"unit", Info, "not-found", func(h *Host) { h.Unit["LoadState"] = "not-found" }},
		{"unit", Failure, "exit-code", func(h *Host) { h.Unit["ActiveState"], h.Unit["Result"] = "failed", "exit-code" }},
		{"unit", Warning, "inactive", func(h *Host) { h.Unit["ActiveState"] = "inactive" }},
		{"unit", Warning, "not known", func(h *Host) { h.UnitErr = fault }},
		{"daemon", Info, "it; broke", func(h *Host) { h.Daemon, h.DaemonErr = nil, fault }},
		{"containerd", Failure, "it; broke", func(h *Host) { h.Stack.ContainerdErr = fault }},
		{"containerd", Warning, "not checked", func(h *Host) {
			h.Root, h.Stack.ContainerdErr = false, fmt.Errorf("dial: %w", fs.ErrPermission)
		}},
		{"plugins", Failure, "tasks", func(h *Host) { h.Stack.Plugins = []string{"tasks is not there"} }},
		{"plugins", Info, "not checked", func(h *Host) { h.Stack.ContainerdErr = fault }},
		{"snapshotter", Failure, "it; broke", func(h *Host) { h.Stack.Snapshotter = fault }},
		{"shim", Failure, "it; broke", func(h *Host) { h.Stack.Shim = fault }},
		{"runsc", Failure, "it; broke", func(h *Host) { h.Stack.RunscErr = fault }},
		{"runsc", Warning, "no date", func(h *Host) { h.Stack.RunscWarning = "no date" }},
		{"sidecars", Warning, "gvisor_sentry", func(h *Host) { h.Stack.Sidecars = []string{"gvisor_sentry"} }},
		{"sidecars", Failure, "refuses", func(h *Host) {
			h.Stack.Sidecars = []string{"gvisor_sentry"}
			h.Config.Runsc.Flags["sidecar-usage-policy"] = configs.Setting{Value: "STRICT"}
		}},
		{"flags", Failure, "it; broke", func(h *Host) { h.Stack.Flags = fault }},
		{"flags", Warning, "old name", func(h *Host) { h.Stack.FlagWarnings = []string{"old name"} }},
		{"init", Failure, "it; broke", func(h *Host) { h.Stack.Init = fault }},
		{"trials", Failure, "it; broke", func(h *Host) { h.StackErr = fault }},
		{"platform", Info, "not tried", func(h *Host) { h.Stack.Canaries = nil }},
		{"platform kvm", Info, "not configured", func(h *Host) { h.Stack.Canaries[1].OK = false }},
		{"platform kvm", Failure, "it broke", kvmOnly},
		{"platform kvm", Warning, "it broke", func(h *Host) {
			kvmOnly(h)
			h.Config.Runsc.Platform = configs.Platforms{"kvm", "systrap"}
		}},
		{"kvm", Info, "opens, but the trial of platform kvm failed", func(h *Host) { h.Stack.Canaries[1].OK = false }},
		{"kvm", Info, "was not tried", func(h *Host) { h.Stack.Canaries = nil }},
		{"kvm", Info, "it; broke", func(h *Host) { h.KVM = fault }},
		{"kvm", Warning, "it; broke", func(h *Host) { h.KVM, h.Config.Runsc.Platform = fault, configs.Platforms{"kvm"} }},
		{"cni", Info, "none needed", func(h *Host) { h.CNI = nil }},
		{"cni", Warning, `"sandbox"`, func(h *Host) {
			h.CNI = nil
			h.Config.Runsc.Flags["network"] = configs.Setting{Value: "sandbox"}
		}},
		{"memory", Failure, "below the reserve of 512", func(h *Host) { h.Stack.Headroom.Memory = 511 << 20 }},
		{"memory", Warning, "8 sandboxes", func(h *Host) { h.Stack.Headroom.Memory = 513 << 20 }},
		{"memory", OK, "513 MiB left, 512 reserved", func(h *Host) { h.Stack.Headroom.Memory, h.Sandboxes = 513<<20, 8 }},
		{"disk", Failure, "below", func(h *Host) { h.Stack.Headroom.Disk = 0 }},
		{"pids", Warning, "8 sandboxes", func(h *Host) { h.Stack.Headroom.PIDs = 600 }},
		{"open files", Failure, "below", func(h *Host) { h.Stack.Headroom.Files = 3 }},
		{"room", Info, "it; broke", func(h *Host) { h.Stack.HeadroomErr = fault }},
		{"room", Info, "without containerd", func(h *Host) { h.Stack.ContainerdErr = fault }},
		{"file limit", Warning, "256", func(h *Host) { h.FileLimit = 256 }},
		{"inotify", Warning, "160", func(h *Host) { h.Inotify = 159 }},
		{"state folder", Warning, "on a disk", func(h *Host) { h.StateOnDisk = true }},
		{"inotify", OK, "128", func(h *Host) { h.Inotify, h.CgroupV2 = 128, false }},
	} {
		t.Run(c.name+" "+string(c.level), func(t *testing.T) {
			h := goodHost()
			c.spoil(&h)
			results := Check(h)
			var found *Result
			for i, r := range results {
				if r.Name == c.name {
					found = &results[i]
				}
				if (r.Level == Failure || r.Level == Warning) == (r.Repair == "") {
					t.Errorf("mend %q at %+v", r.Repair, r)
				}
				if strings.Contains(r.Text, "\n") {
					t.Errorf("more than a line: %q", r.Text)
				}
			}
			if found == nil || found.Level != c.level || !strings.Contains(found.Text, c.text) {
				t.Errorf("%s is %+v, want %s with %q", c.name, found, c.level, c.text)
			}
			if want := c.level == Failure || h.Root && h.Stack.ContainerdErr != nil; want != Failed(results) {
				t.Errorf("failed is %t in %+v", Failed(results), results)
			}
		})
	}
}

// TestCapabilities compares with the mask that the kernel shows.
func TestCapabilities(t *testing.T) {
	_, line, _ := strings.Cut(word("/proc/self/status"), "CapEff:")
	line, _, _ = strings.Cut(line, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	for c, has := range effective() {
		if want := mask&(1<<c) != 0; has != want {
			t.Errorf("%s: %t", c, has)
		}
	}
}

// TestFullPools leaves out of the host's room what the pools want when that is nothing.
func TestFullPools(t *testing.T) {
	h := goodHost()
	h.Sandboxes = 1 << 20
	for _, r := range Check(h) {
		if strings.Contains(r.Text, "more for the pools") {
			t.Errorf("%s: %s", r.Name, r.Text)
		}
	}
}
