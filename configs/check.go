package configs

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The most that may be configured, to catch slips such as "60h" for "60s".
const (
	maxTimeout    = time.Hour
	maxWait       = 24 * time.Hour
	maxOnClaim    = 5 * time.Minute
	maxLifetime   = 365 * 24 * time.Hour
	maxAge        = 365 * 24 * time.Hour
	maxStarts     = 1024
	maxClaims     = 1 << 20
	maxExtensions = 1000
	maxRetries    = 100
	minKeep       = 100
	maxKeep       = 10_000_000
	maxReserve    = 1 << 30
	maxParallel   = 64
	maxPort       = 65535

	maxConnections = 100_000
)

// MaxPool is the largest pool that may be configured.
const MaxPool = 10000

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62})$`)
	typePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	modePattern = regexp.MustCompile(`^0?[0-7]{3}$`)
)

const (
	nameRule = "want 1 to 63 lower-case letters, digits and dashes, not a dash first"
	typeRule = "want 1 to 63 lower-case letters, digits, dashes and underscores, a letter or digit first"
)

// Validate checks all values and joins every fault, each as FILE:LINE: KEY: what is wrong and what is allowed. The file and
// line are left out of a Config that was not read from a file.
func (c Config) Validate() error {
	found := &faults{places: c.places}
	c.check(found)
	return found.err()
}

// check adds to found what is wrong with the values. Of a file in another format only that is worth saying.
func (c Config) check(found *faults) {
	if found.broken {
		return
	}
	if c.Version != Version {
		found.list, found.seen = nil, nil
		found.add("version", "format %d, but this sandpoold reads only %d", c.Version, Version)
		return
	}
	if !namePattern.MatchString(c.Region) {
		found.add("region", "%q: %s", c.Region, nameRule)
	}
	c.Daemon.check(found)
	c.Containerd.check(found)
	c.Runsc.check(found)
	c.Images.check(found)
	c.Limits.check(found)
	c.Reserves.check(found)
	c.checkLifetimes(found)
	c.Checkpoints.check(found)
	found.number("events.keep", c.Events.Keep, minKeep, maxKeep)
	c.Tracing.check(found)
	c.Network.check(found)
	for i, hook := range c.Hooks {
		hook.check(fmt.Sprintf("hooks[%d]", i), found)
	}
	c.checkSecrets(found)
	c.checkTemplates(found)
	c.checkPools(found)
}

func (d Daemon) check(found *faults) {
	found.socket("daemon.socket", d.Socket)
	found.absolute("daemon.state_dir", d.StateDir)
	if !modePattern.MatchString(d.SocketMode) {
		found.add("daemon.socket_mode", `%q: want an octal mode, as in "0660"`, d.SocketMode)
	}
	found.oneOf("daemon.on_stop", d.OnStop, OnStopKeep, OnStopRemove)
	found.oneOf("daemon.log_level", d.LogLevel, "debug", "info", "warn", "error")
	found.oneOf("daemon.log_format", d.LogFormat, "text", "json")
	if address, err := netip.ParseAddrPort(d.MetricsAddress); d.MetricsAddress != "" && (err != nil || !address.Addr().IsLoopback() || address.Port() == 0) {
		found.add("daemon.metrics_address", `%q: want a loopback address and a port, as in "127.0.0.1:9464"`, d.MetricsAddress)
	}
}

func (c Containerd) check(found *faults) {
	found.socket("containerd.address", c.Address)
	found.identifier("containerd.namespace", c.Namespace)
	found.identifier("containerd.snapshotter", c.Snapshotter)
	found.duration("containerd.connect_timeout", c.ConnectTimeout, 1, maxTimeout)
}

func (r Runsc) check(found *faults) {
	if r.Path == "" || strings.Contains(r.Path, "/") {
		found.absolute("runsc.path", r.Path)
	}
	if !filepath.IsAbs(r.Shim) {
		found.identifier("runsc.shim", r.Shim)
	}
	found.absolute("runsc.init", r.Init)
	found.duration("runsc.canary_timeout", r.CanaryTimeout, 1, maxTimeout)
	r.Platform.check(found)
}

func (p Platforms) check(found *faults) {
	const key = "runsc.platform"
	if len(p) == 0 {
		found.add(key, "empty list: want at least one name")
	}
	if len(p) > 1 && slices.Contains(p, PlatformAuto) {
		found.add(key, "%q in a list: it stands alone", PlatformAuto)
	}
	for i, name := range p {
		at := fmt.Sprintf("%s[%d]", key, i)
		found.oneOf(at, name, "systrap", "kvm", "ptrace", PlatformAuto)
		if slices.Contains(p[:i], name) {
			found.add(at, "%q: named twice", name)
		}
	}
}

func (i Images) check(found *faults) {
	found.oneOf("images.pull", i.Pull, PullMissing, PullAlways, PullNever)
	if i.HostsDir != "" {
		found.absolute("images.hosts_dir", i.HostsDir)
	}
	if i.DockerConfig != "" {
		found.absolute("images.docker_config", i.DockerConfig)
	}
	for n, host := range i.TokenHosts {
		if u, err := url.Parse("https://" + host); err != nil || u.Host != host || strings.HasSuffix(host, ":443") {
			found.add(fmt.Sprintf("images.token_hosts[%d]", n), "%q: want a host, and its port unless that is 443", host)
		}
	}
	if found.duration("images.pull_timeout", i.PullTimeout, 1, maxWait) {
		found.duration("images.stall_timeout", i.StallTimeout, 1, i.PullTimeout.Std())
	}
	found.number("images.max_unpacked_mib", i.MaxUnpacked, 1, maxReserve)
	found.number("images.parallel", i.Parallel, 1, maxParallel)
	found.duration("images.keep_unused", i.KeepUnused, 0, maxAge)
}

func (l Limits) check(found *faults) {
	found.duration("limits.start_timeout", l.StartTimeout, 1, maxTimeout)
	found.duration("limits.pause_timeout", l.PauseTimeout, 1, maxTimeout)
	found.duration("limits.kill_timeout", l.KillTimeout, 1, maxTimeout)
	found.number("limits.starts", l.Starts, 0, maxStarts)
	if found.duration("limits.max_wait", l.MaxWait, 0, maxWait) {
		found.duration("limits.claim_wait", l.ClaimWait, 0, l.MaxWait.Std())
	}
	found.number("limits.claims_per_user", l.ClaimsPerUser, 0, maxClaims)
	found.duration("limits.max_lifetime", l.MaxLifetime, 1, maxLifetime)
	found.number("limits.connections", l.Connections, 1, maxConnections)
	found.number("limits.connections_per_user", l.ConnectionsPerUser, 1, maxConnections)
	found.number("limits.execs_per_user", l.ExecsPerUser, 1, maxConnections)
	found.number("limits.followers_per_user", l.FollowersPerUser, 1, maxConnections)
	found.number("limits.waiting_per_user", l.WaitingPerUser, 1, maxConnections)
}

func (r Reserves) check(found *faults) {
	found.number("reserves.memory_mib", r.MemoryMiB, 0, maxReserve)
	found.number("reserves.disk_mib", r.DiskMiB, 0, maxReserve)
	found.number("reserves.pids", r.PIDs, 0, maxReserve)
	found.number("reserves.files", r.Files, 0, maxReserve)
	found.amount("reserves.memory_overcommit", r.MemoryOvercommit, minOvercommit, maxOvercommit)
	found.amount("reserves.disk_overcommit", r.DiskOvercommit, minOvercommit, maxOvercommit)
}

func (c Checkpoints) check(found *faults) {
	found.absolute("checkpoints.dir", c.Dir)
	found.duration("checkpoints.max_age", c.MaxAge, 0, maxAge)
	found.number("checkpoints.max_count", c.MaxCount, 0, maxReserve)
	found.number("checkpoints.max_mib", c.MaxMiB, 0, maxReserve)
	found.number("checkpoints.max_count_per_user", c.MaxCountPerUser, 0, maxReserve)
	found.number("checkpoints.max_mib_per_user", c.MaxMiBPerUser, 0, maxReserve)
	found.duration("checkpoints.timeout", c.Timeout, 1, maxTimeout)
}

func (t Tracing) check(found *faults) {
	const key = "tracing.endpoint"
	if t.Endpoint != "" {
		checkURL(key, t.Endpoint, found)
		if u, err := url.Parse(t.Endpoint); err == nil && (u.User != nil || u.RawQuery != "" || u.Fragment != "") {
			found.add(key, "%q: want it without a user, a query and a fragment", t.Endpoint)
		}
	}
	if ok := t.Sample >= 0 && t.Sample <= 1; !ok {
		found.add("tracing.sample", "%s: want 0 to 1", short(t.Sample))
	}
}

func (c Config) checkTemplates(found *faults) {
	if len(c.Templates) == 0 {
		found.add("templates", "none: want at least one")
	}
	capped := c.Caps.check(found)
	for _, name := range slices.Sorted(maps.Keys(c.Templates)) {
		key := join("templates", name)
		if !namePattern.MatchString(name) {
			found.add(key, "name: %s", nameRule)
		}
		c.Templates[name].check(key, found)
		c.checkSecretsOf(join(key, "network"), c.Templates[name].Network, found)
		if capped {
			c.Templates[name].checkResources(key, c.Caps, found)
		}
	}
}

func (t Template) check(key string, found *faults) {
	path, isFile := strings.CutPrefix(t.Image, FileScheme)
	switch {
	case t.Image == "":
		found.add(join(key, "image"), "missing: want a reference or %s and an absolute path", FileScheme)
	case strings.ContainsAny(t.Image, " \t\n\x00"):
		found.add(join(key, "image"), "%q: has a space in it", t.Image)
	case isFile && !filepath.IsAbs(path):
		found.add(join(key, "image"), "%q: want %s and an absolute path", t.Image, FileScheme)
	}
	if len(t.Command) > 0 && t.ImageCommand {
		found.add(join(key, "command"), "given together with image_command = true: want one of them")
	} else {
		found.command(join(key, "command"), t.Command)
	}
	t.checkOnClaim(key, found)
	t.checkEnv(join(key, "env"), found)
	t.checkProcess(key, found)
	t.checkMounts(key, found)
	t.checkUlimits(join(key, "ulimits"), found)
	t.checkReady(key, found)
	t.Network.check(join(key, "network"), found)
}

func (t Template) checkReady(key string, found *faults) {
	for i, command := range t.Prewarm {
		found.line(fmt.Sprintf("%s[%d]", join(key, "prewarm"), i), command)
	}
	if t.ReadyCommand != "" {
		found.line(join(key, "ready_command"), t.ReadyCommand)
	}
	found.duration(join(key, "prewarm_timeout"), t.PrewarmTimeout, 1, maxTimeout)
	found.duration(join(key, "ready_timeout"), t.ReadyTimeout, 1, maxTimeout)
	found.number(join(key, "ready_port"), t.ReadyPort, 0, maxPort)
}

// maxHook keeps a hook well below containerd's limit of 4096 bytes for a label, in bytes.
const maxHook = 2048

func (t Template) checkOnClaim(key string, found *faults) {
	at := join(key, "on_claim")
	found.command(at, t.OnClaim)
	text, err := json.Marshal(t.OnClaim)
	if err != nil || len(text) > maxHook {
		found.add(at, "%d bytes as JSON: want at most %d: put what it does into a program of the image", len(text), maxHook)
	}
	found.duration(join(key, "on_claim_timeout"), t.OnClaimTimeout, time.Millisecond, maxOnClaim)
}

func (t Template) checkEnv(key string, found *faults) {
	seen := map[string]bool{}
	for i, entry := range t.Env {
		at := fmt.Sprintf("%s[%d]", key, i)
		name, _, ok := strings.Cut(entry, "=")
		switch {
		case !ok || name == "" || strings.Contains(entry, "\x00"):
			found.add(at, "%q: want KEY=VALUE", entry)
		case seen[name]:
			found.add(at, "%q: %s is set twice", entry, name)
		}
		seen[name] = true
	}
}

func (c Config) checkPools(found *faults) {
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		key, pool := join("pools", name), c.Pools[name]
		if _, ok := c.Templates[name]; !ok {
			found.add(key, "no template %q: a pool is named after its template", name)
		}
		pool.check(key, found)
	}
}

// check refuses every size that pool.Size.Validate refuses.
func (p Pool) check(key string, found *faults) {
	if found.number(join(key, "max"), p.Max, 1, MaxPool) {
		found.number(join(key, "hot"), p.Hot, 0, p.Max)
		if found.number(join(key, "target"), p.Target, 0, p.Max) {
			found.number(join(key, "min"), p.Min, 0, p.Target)
		}
	}
	if found.number(join(key, "scale_up_threshold"), p.ScaleUp, 1, 100) {
		found.number(join(key, "scale_down_threshold"), p.ScaleDown, 0, p.ScaleUp-1)
	}
	found.duration(join(key, "max_age"), p.MaxAge, 0, maxAge)
	found.oneOf(join(key, "recycle"), p.Recycle, RecycleDestroy, RecycleReset)
}
