package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"sandpool/configs"
	"sandpool/runtime"
)

const (
	getRunsc      = "apt-get install runsc"
	getContainerd = "systemctl start containerd"
	containerdLog = "journalctl -u containerd -n 50"
	networkFlag   = "network"
)

// stackChecks judge containerd, runsc and what they start.
func stackChecks(h Host) []Result {
	all := []Result{checkContainerd(h), checkPlugins(h), checkSnapshotter(h), checkShim(h), checkRunsc(h), checkSidecars(h), checkFlags(h), checkInit(h)}
	if h.StackErr != nil {
		all = append(all, failure("trials", containerdLog, "the look at containerd and runsc was broken off; the next doctor removes what is left of it: %v", h.StackErr))
	}
	return append(append(all, checkPlatforms(h)...), checkKVM(h), checkCNI(h))
}

// broken is a failure, unless a lack of rights explains it.
func broken(h Host, name, repair, what string, err error) Result {
	if !h.Root && errors.Is(err, fs.ErrPermission) {
		return warning(name, asRoot, "not checked: %v", err)
	}
	return failure(name, repair, "%s: %v", what, err)
}

func checkContainerd(h Host) Result {
	if err := h.Stack.ContainerdErr; err != nil {
		return broken(h, "containerd", getContainerd, "the daemon does not start without it", err)
	}
	return good("containerd", "%s at %s", h.Stack.Containerd, h.Config.Containerd.Address)
}

func checkPlugins(h Host) Result {
	if h.Stack.ContainerdErr != nil {
		return info("plugins", "not checked without containerd")
	}
	if len(h.Stack.Plugins) > 0 {
		return failure("plugins", "ctr plugins ls", "containerd lacks what sandboxes need: %s", strings.Join(h.Stack.Plugins, "; "))
	}
	return good("plugins", "all that sandboxes need")
}

func checkSnapshotter(h Host) Result {
	if h.Stack.ContainerdErr != nil {
		return info("snapshotter", "not checked without containerd")
	}
	if err := h.Stack.Snapshotter; err != nil {
		return failure("snapshotter", "ctr plugins ls type==io.containerd.snapshotter.v1", "set containerd.snapshotter to one that is ok: %v", err)
	}
	return good("snapshotter", "%s", h.Config.Containerd.Snapshotter)
}

func checkShim(h Host) Result {
	if h.Stack.ContainerdErr != nil {
		return info("shim", "not checked without containerd")
	}
	if err := h.Stack.Shim; err != nil {
		return broken(h, "shim", getRunsc, "containerd cannot start sandboxes", err)
	}
	return good("shim", "containerd finds %s", h.Stack.ShimName)
}

func checkRunsc(h Host) Result {
	if err := h.Stack.RunscErr; err != nil {
		return failure("runsc", getRunsc, "the daemon does not start with it: %v", err)
	}
	if h.Stack.RunscWarning != "" {
		return warning("runsc", "runsc --version", "%s", h.Stack.RunscWarning)
	}
	return good("runsc", "%s", h.Stack.Runsc)
}

func checkSidecars(h Host) Result {
	switch {
	case h.Stack.RunscErr != nil:
		return info("sidecars", "not checked without runsc")
	case len(h.Stack.Sidecars) == 0:
		return good("sidecars", "runsc misses none")
	case h.Config.Runsc.Flags["sidecar-usage-policy"].Value == "STRICT":
		return failure("sidecars", getRunsc, "runsc refuses to start sandboxes without %s", strings.Join(h.Stack.Sidecars, ", "))
	default:
		return warning("sidecars", getRunsc, "runsc starts sandboxes more slowly, and in later releases not at all, without %s", strings.Join(h.Stack.Sidecars, ", "))
	}
}

func checkFlags(h Host) Result {
	const repair = "runsc flags"
	switch {
	case h.Stack.RunscErr != nil:
		return info("flags", "not checked without runsc")
	case h.Stack.Flags != nil:
		return failure("flags", repair, "the daemon does not start with them: %v", h.Stack.Flags)
	case len(h.Stack.FlagWarnings) > 0:
		return warning("flags", repair, "%s", strings.Join(h.Stack.FlagWarnings, "; "))
	default:
		return good("flags", "runsc takes all that are configured")
	}
}

func checkInit(h Host) Result {
	if err := h.Stack.Init; err != nil {
		return broken(h, "init", "make build && install -D -m 755 .build/bin/sandpool-init "+h.Config.Runsc.Init, "no sandbox starts without it", err)
	}
	return good("init", "%s", h.Config.Runsc.Init)
}

// checkPlatforms judges each platform by its trial. One of those that are configured must work.
func checkPlatforms(h Host) []Result {
	if len(h.Stack.Canaries) == 0 {
		return []Result{info("platform", "not tried: see what is missing above")}
	}
	configured := h.Config.Runsc.Platform
	works := slices.ContainsFunc(h.Stack.Canaries, func(c runtime.Canary) bool { return c.OK && wanted(configured, c.Platform) })
	var all []Result
	for _, c := range h.Stack.Canaries {
		name := "platform " + c.Platform
		switch {
		case c.OK:
			all = append(all, good(name, "a trial sandbox ran on it, in %d ms", c.Took.Milliseconds()))
		case !wanted(configured, c.Platform):
			all = append(all, info(name, "not configured, and its trial failed: %s", c.Reason))
		case works:
			all = append(all, warning(name, switchPlatform(h), "its trial failed, so the next one is used: %s", c.Reason))
		default:
			all = append(all, failure(name, switchPlatform(h), "its trial failed, and no other that is configured works: %s", c.Reason))
		}
	}
	return all
}

func wanted(configured configs.Platforms, name string) bool {
	return slices.Contains(configured, name) || slices.Contains(configured, configs.PlatformAuto)
}

// switchPlatform names the change to the configuration that lets the platforms be used which work.
func switchPlatform(h Host) string {
	for _, c := range h.Stack.Canaries {
		if c.OK {
			return fmt.Sprintf("set runsc.platform = %q in %s", c.Platform, h.ConfigPath)
		}
	}
	return containerdLog
}

// checkKVM says whether the device opens, and what came of the trial: only that says whether it works.
func checkKVM(h Host) Result {
	at := slices.IndexFunc(h.Stack.Canaries, func(c runtime.Canary) bool { return c.Platform == "kvm" })
	switch {
	case h.KVM == nil && at < 0:
		return info("kvm", "/dev/kvm opens; whether it works was not tried")
	case h.KVM == nil && !h.Stack.Canaries[at].OK:
		return info("kvm", "/dev/kvm opens, but the trial of platform kvm failed: it cannot be used here")
	case h.KVM == nil:
		return good("kvm", "/dev/kvm opens, and platform kvm works")
	case slices.Contains(h.Config.Runsc.Platform, "kvm"):
		return warning("kvm", "modprobe kvm_intel || modprobe kvm_amd", "runsc.platform names kvm: %v", h.KVM)
	default:
		return info("kvm", "not configured: %v", h.KVM)
	}
}

func checkCNI(h Host) Result {
	network := h.Config.Runsc.Flags[networkFlag].Value
	switch {
	case len(h.CNI) > 0:
		return good("cni", "%s", strings.Join(h.CNI, ", "))
	case network == "none":
		return info("cni", "no plugins, and none needed: sandboxes have no interface")
	default:
		return warning("cni", "apt-get install containernetworking-plugins", "no plugins, but sandboxes run with network %q", network)
	}
}
