// Package engine makes the runtime's configuration from the daemon's, for the daemon and for its doctor.
package engine

import (
	"sandpool/configs"
	"sandpool/runtime"
	"sandpool/runtime/image"
	"sandpool/runtime/runsc"
)

// Config returns what the configuration says of the engine.
func Config(c configs.Config) runtime.Config {
	settings := map[string]runsc.Setting{}
	for name, s := range c.Runsc.Flags {
		settings[name] = runsc.Setting{Value: s.Value, Pos: s.Pos}
	}
	return runtime.Config{
		Address: c.Containerd.Address, Namespace: c.Containerd.Namespace, Snapshotter: c.Containerd.Snapshotter,
		ConnectTimeout: c.Containerd.ConnectTimeout.Std(),
		Runsc:          c.Runsc.Path, Shim: c.Runsc.Shim, Init: c.Runsc.Init, StateDir: c.Daemon.StateDir,
		Platforms: c.Runsc.Platform, Settings: settings,
		CanaryTimeout: c.Runsc.CanaryTimeout.Std(), StartTimeout: c.Limits.StartTimeout.Std(),
		PauseTimeout: c.Limits.PauseTimeout.Std(), KillTimeout: c.Limits.KillTimeout.Std(),
		CheckpointTimeout: c.Checkpoints.Timeout.Std(),
		Images:            Images(c),
	}
}

// Images returns what the configuration says of pulls.
func Images(c configs.Config) image.Policy {
	const mib = 1 << 20
	i := c.Images
	return image.Policy{
		Pull: i.Pull, HostsDir: i.HostsDir, DockerConfig: i.DockerConfig, TokenHosts: i.TokenHosts,
		PullTimeout: i.PullTimeout.Std(), StallTimeout: i.StallTimeout.Std(), KeepUnused: i.KeepUnused.Std(),
		MaxUnpacked: int64(i.MaxUnpacked) * mib, KeepFree: int64(c.Reserves.DiskMiB) * mib,
	}
}
