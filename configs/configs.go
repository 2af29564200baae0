// Package configs reads sandpoold's configuration: defaults, then the file, then checks that report every fault at once.
package configs

import (
	_ "embed" // for Sample
	"io/fs"
	"log/slog"
	"maps"
	"strconv"
	"time"

	"sandpool/lifetime"
	"sandpool/runtime/egress"
)

// Version is the newest configuration format that this package reads.
const Version = 1

// Sample is a configuration file with every key, its default and what it means.
//
//go:embed sandpoold.toml
var Sample string

// DefaultPath is where the configuration is unless another file is named.
const DefaultPath = "/etc/sandpool/sandpoold.toml"

// Config is the daemon's configuration. Default or Load make a usable one.
type Config struct {
	Version     int                 `toml:"version"`
	Region      string              `toml:"region"` // first half of a pool's name
	Daemon      Daemon              `toml:"daemon"`
	Containerd  Containerd          `toml:"containerd"`
	Runsc       Runsc               `toml:"runsc"`
	Images      Images              `toml:"images"`
	Limits      Limits              `toml:"limits"`
	Reserves    Reserves            `toml:"reserves"`
	Caps        Caps                `toml:"caps"`
	Lifetimes   map[string]Lifetime `toml:"lifetimes"` // by name; the built-in ones too
	Checkpoints Checkpoints         `toml:"checkpoints"`
	Events      Events              `toml:"events"`
	Tracing     Tracing             `toml:"tracing"`
	Network     Network             `toml:"network"`
	Hooks       []Hook              `toml:"hooks"`
	Secrets     []Secret            `toml:"secrets"`
	Templates   map[string]Template `toml:"templates"`
	Pools       map[string]Pool     `toml:"pools"` // by their template's name

	places places
}

// Daemon is how the daemon itself runs.
type Daemon struct {
	Socket      string `toml:"socket"`       // absolute path
	SocketMode  string `toml:"socket_mode"`  // octal; see Mode
	SocketGroup string `toml:"socket_group"` // name or number; empty leaves the daemon's own
	StateDir    string `toml:"state_dir"`    // absolute path
	OnStop      string `toml:"on_stop"`      // OnStopKeep or OnStopRemove
	LogLevel    string `toml:"log_level"`    // see Level
	LogFormat   string `toml:"log_format"`   // "text" or "json"
	// MetricsAddress is a loopback address and a port on which the metrics are served too; empty for none.
	MetricsAddress string `toml:"metrics_address"`
	// MetricsExemplars has those name single claims.
	MetricsExemplars bool `toml:"metrics_exemplars"`
}

// What a stopping daemon does with its sandboxes.
const (
	OnStopKeep   = "keep"
	OnStopRemove = "remove"
)

// Mode returns the socket's permission bits.
func (d Daemon) Mode() fs.FileMode {
	bits, _ := strconv.ParseUint(d.SocketMode, 8, 9) // checked by Validate
	return fs.FileMode(bits)
}

// Level returns the least severe level that is logged.
func (d Daemon) Level() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(d.LogLevel)) // checked by Validate
	return level
}

// Containerd is where containerd is and which part of it is the daemon's.
type Containerd struct {
	Address        string            `toml:"address"` // absolute path of its socket
	Namespace      string            `toml:"namespace"`
	Snapshotter    string            `toml:"snapshotter"`
	ConnectTimeout lifetime.Duration `toml:"connect_timeout"`
}

// Runsc is the gVisor runtime and how it is run.
type Runsc struct {
	Path          string             `toml:"path"` // a program in PATH or an absolute path
	Shim          string             `toml:"shim"` // containerd's name of the runtime, an absolute path, or "auto"
	Init          string             `toml:"init"` // absolute path on the host
	Platform      Platforms          `toml:"platform"`
	CanaryTimeout lifetime.Duration  `toml:"canary_timeout"`
	Flags         map[string]Setting `toml:"flags"` // by the flag's name, without dashes
}

// PlatformAuto leaves the choice of the platform to the daemon. It stands alone in Platforms.
const PlatformAuto = "auto"

// Platforms are names of gVisor platforms in order of preference, or PlatformAuto alone.
type Platforms []string

// Setting is the value of one runsc flag. Whether runsc knows the flag is for the runtime package to find out.
type Setting struct {
	Value string
	Pos   string // FILE:LINE where it was set, or "built-in default"
}

// Images is how the images of templates are fetched, and how long those are kept that no template has any more.
type Images struct {
	Pull         string            `toml:"pull"`          // PullMissing, PullAlways or PullNever
	HostsDir     string            `toml:"hosts_dir"`     // absolute path of a folder like containerd's certs.d; empty: none
	DockerConfig string            `toml:"docker_config"` // absolute path of Docker's config.json; empty: the usual places
	TokenHosts   []string          `toml:"token_hosts"`   // hosts beside a registry's own that may get its password
	PullTimeout  lifetime.Duration `toml:"pull_timeout"`  // for all that makes one image usable
	StallTimeout lifetime.Duration `toml:"stall_timeout"` // for a registry that sends nothing
	MaxUnpacked  int               `toml:"max_unpacked_mib"`
	Parallel     int               `toml:"parallel"` // templates that are made ready at once
	KeepUnused   lifetime.Duration `toml:"keep_unused"`
}

// When a reference is looked up at its registry.
const (
	PullMissing = "missing" // when containerd does not have it
	PullAlways  = "always"  // whenever its template is made ready
	PullNever   = "never"
)

// Limits are the deadlines and bounds of the daemon's work.
type Limits struct {
	StartTimeout  lifetime.Duration `toml:"start_timeout"`
	PauseTimeout  lifetime.Duration `toml:"pause_timeout"`
	KillTimeout   lifetime.Duration `toml:"kill_timeout"`
	Starts        int               `toml:"starts"` // sandboxes started at once; 0 means one per processor
	ClaimWait     lifetime.Duration `toml:"claim_wait"`
	MaxWait       lifetime.Duration `toml:"max_wait"`
	ClaimsPerUser int               `toml:"claims_per_user"` // with those that wait; root and the daemon's own user have any number; 0: all have
	LifetimeType  string            `toml:"lifetime_type"`   // of a claim; one of Lifetimes
	MaxLifetime   lifetime.Duration `toml:"max_lifetime"`    // without extensions

	// What users have at a time. Root and the daemon's own user are not bound by those of each user, and have as many connections again.
	Connections        int `toml:"connections"`
	ConnectionsPerUser int `toml:"connections_per_user"`
	ExecsPerUser       int `toml:"execs_per_user"`
	FollowersPerUser   int `toml:"followers_per_user"` // of events
	WaitingPerUser     int `toml:"waiting_per_user"`   // claims and forks that are not answered yet
}

// Reserves are what the host keeps for others: below any of them no sandbox is started, and claims get those that are there.
type Reserves struct {
	MemoryMiB int `toml:"memory_mib"`
	DiskMiB   int `toml:"disk_mib"` // of the file system that holds the snapshots
	PIDs      int `toml:"pids"`     // processes and threads
	Files     int `toml:"files"`    // open files

	// How often what there is may be promised to sandboxes by their limits; 0: any number of times.
	MemoryOvercommit float64 `toml:"memory_overcommit"`
	DiskOvercommit   float64 `toml:"disk_overcommit"`
}

// Checkpoints is where claims are saved, and what is kept of them. Of each bound 0 means none.
type Checkpoints struct {
	Dir      string            `toml:"dir"` // absolute path
	MaxAge   lifetime.Duration `toml:"max_age"`
	MaxCount int               `toml:"max_count"`
	MaxMiB   int               `toml:"max_mib"`
	// The same for the checkpoints of each owner.
	MaxCountPerUser int `toml:"max_count_per_user"`
	MaxMiBPerUser   int `toml:"max_mib_per_user"`

	Timeout lifetime.Duration `toml:"timeout"` // of saving one claim, and of restoring one
}

// Events is what is kept of the events for clients that come back.
type Events struct {
	Keep int `toml:"keep"` // how many, the newest ones
}

// Tracing is where the spans of traces are sent.
type Tracing struct {
	Endpoint string  `toml:"endpoint"` // http or https URL of an OTLP/HTTP collector, without v1/traces; empty: none are made
	Sample   float64 `toml:"sample"`   // share of the traces that begin here, 0 to 1
}

// Template is what runs in a sandbox.
type Template struct {
	Image        string   `toml:"image"`         // a reference, or FileScheme and an absolute path
	Command      []string `toml:"command"`       // empty: the sandbox waits
	ImageCommand bool     `toml:"image_command"` // run the image's own command
	Env          []string `toml:"env"`           // KEY=VALUE, added to the image's
	LifetimeType string   `toml:"lifetime_type"` // of its claims, one of Lifetimes; empty: that of Limits

	User     string `toml:"user"`     // name or number, or either with :group; empty: the image's
	Cwd      string `toml:"cwd"`      // absolute path in the sandbox; empty: the image's
	Platform string `toml:"platform"` // of gVisor; empty: the daemon's

	AllowSetuid bool `toml:"allow_setuid"` // programs with the set-uid or set-gid bit, such as sudo, run as their owner

	CPUs      float64 `toml:"cpus"` // of this and the next three 0 means no limit
	MemoryMiB int     `toml:"memory_mib"`
	DiskMiB   int     `toml:"disk_mib"` // of what it writes to its root file system
	PIDs      int     `toml:"pids"`     // processes and threads of one user
	Mounts    []Mount `toml:"mounts"`

	Ulimits map[string]Ulimit `toml:"ulimits"` // of each process, by Docker's names

	Prewarm        []string          `toml:"prewarm"` // command lines for /bin/sh, run in each sandbox before it is ready
	PrewarmTimeout lifetime.Duration `toml:"prewarm_timeout"`
	ReadyCommand   string            `toml:"ready_command"` // command line that must succeed, if not empty
	ReadyPort      int               `toml:"ready_port"`    // TCP port that must answer in the sandbox, if not 0
	ReadyTimeout   lifetime.Duration `toml:"ready_timeout"`

	OnClaim        []string          `toml:"on_claim"` // run in the sandbox before each claim of it is answered; empty: nothing
	OnClaimTimeout lifetime.Duration `toml:"on_claim_timeout"`

	Network TemplateNetwork `toml:"network"` // what it may connect to

	Snapshot bool `toml:"snapshot"` // sandboxes go on from a checkpoint of one that is ready, rather than being started
}

// FileScheme starts an image that is an archive on the host.
const FileScheme = "file://"

// Pool is how many sandboxes of the template of its name there are, and for how long. Claimed ones count.
type Pool struct {
	Min       int               `toml:"min"`                  // draining stops here; Target in a file that leaves it out
	Target    int               `toml:"target"`               // what the pool starts with and returns to
	Max       int               `toml:"max"`                  // ready, claimed and starting together
	ScaleUp   int               `toml:"scale_up_threshold"`   // per cent in use
	ScaleDown int               `toml:"scale_down_threshold"` // per cent in use
	Hot       int               `toml:"hot"`                  // of those ready, how many run instead of being paused
	Adaptive  bool              `toml:"adaptive"`             // the target follows the claims
	MaxAge    lifetime.Duration `toml:"max_age"`              // of a sandbox that is handed out, 0: any; WarmPool's lifetime in a file that leaves it out
	Recycle   string            `toml:"recycle"`              // RecycleDestroy or RecycleReset
}

// What a release makes of a sandbox's slot; the sandbox is destroyed in any case.
const (
	RecycleDestroy = "destroy"
	RecycleReset   = "reset"
)

// PoolOf returns the pool of a template. One that has none configured keeps nothing ready.
func (c Config) PoolOf(template string) Pool {
	if p, ok := c.Pools[template]; ok {
		return p
	}
	p := defaultPool
	p.Min, p.Target, p.MaxAge = 0, 0, c.Lifetimes[WarmPool].Lifetime
	return p
}

// Default returns the configuration of an empty file.
func Default() Config {
	sample := defaultTemplate
	sample.Image = "sandpool.local/busybox:1"
	return Config{
		Version: Version,
		Region:  "local",
		Daemon: Daemon{
			Socket:     "/run/sandpool/sandpool.sock",
			SocketMode: "0660",
			StateDir:   "/run/sandpool",
			OnStop:     OnStopKeep,
			LogLevel:   "info",
			LogFormat:  "text",
		},
		Containerd: Containerd{
			Address:        "/run/containerd/containerd.sock",
			Namespace:      "sandpool",
			Snapshotter:    "overlayfs",
			ConnectTimeout: seconds(10),
		},
		Runsc: Runsc{
			Path:          "runsc",
			Shim:          "auto",
			Init:          "/usr/libexec/sandpool/sandpool-init",
			Platform:      Platforms{"systrap"},
			CanaryTimeout: seconds(10),
			Flags:         map[string]Setting{"network": {Value: "none", Pos: "built-in default"}},
		},
		Images: Images{
			Pull: PullMissing, PullTimeout: minutes(10), StallTimeout: seconds(60), MaxUnpacked: 16384, Parallel: 2, KeepUnused: hours(24),
		},
		Limits: Limits{
			StartTimeout:  seconds(60),
			PauseTimeout:  seconds(10),
			KillTimeout:   seconds(10),
			ClaimWait:     seconds(30),
			MaxWait:       minutes(10),
			ClaimsPerUser: 24,
			LifetimeType:  defaultType,
			MaxLifetime:   hours(7 * 24),

			Connections: 1024, ConnectionsPerUser: 64, ExecsPerUser: 48, FollowersPerUser: 16, WaitingPerUser: 48,
		},
		Reserves:  Reserves{MemoryMiB: 512, DiskMiB: 1024, PIDs: 512, Files: 1024},
		Caps:      Caps{CPUs: 4, MemoryMiB: 8192, DiskMiB: 51200, PIDs: 4096},
		Lifetimes: maps.Clone(builtInTypes),
		Checkpoints: Checkpoints{
			Dir: "/var/lib/sandpool/checkpoints", MaxAge: hours(7 * 24), MaxCount: 100, MaxMiB: 10240,
			MaxCountPerUser: 100, MaxMiBPerUser: 10240, Timeout: seconds(60),
		},
		Events:    Events{Keep: 10000},
		Tracing:   Tracing{Sample: 1},
		Network:   Network{ResolveTimeout: seconds(5), ConnectTimeout: seconds(10), MaxConnections: 4096},
		Templates: map[string]Template{defaultName: sample},
		Pools:     map[string]Pool{defaultName: defaultPool},
	}
}

const defaultName = "default"

// These also fill the keys that a file's own templates and pools leave out.
var (
	defaultTemplate = Template{
		CPUs: 1, MemoryMiB: 2048, DiskMiB: 10240, PIDs: 1024, PrewarmTimeout: minutes(5), ReadyTimeout: seconds(30), OnClaimTimeout: seconds(10),
		Network: TemplateNetwork{Mode: egress.None, MaxConnections: 256},
	}
	defaultPool = Pool{
		Min: 8, Target: 8, Max: 32, ScaleUp: 70, ScaleDown: 30, MaxAge: builtInTypes[WarmPool].Lifetime, Recycle: RecycleDestroy,
	}
)

func seconds(n int) lifetime.Duration { return lifetime.Duration(n) * lifetime.Duration(time.Second) }
func minutes(n int) lifetime.Duration { return lifetime.Duration(n) * lifetime.Duration(time.Minute) }
func hours(n int) lifetime.Duration   { return lifetime.Duration(n) * lifetime.Duration(time.Hour) }
