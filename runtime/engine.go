// Package runtime runs gVisor sandboxes in containerd. Only it and the packages in it know containerd and runsc.
package runtime

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"sandpool/runtime/call"
	"sandpool/runtime/command"
	"sandpool/runtime/image"
	"sandpool/runtime/lockfile"
	"sandpool/runtime/pause"
	"sandpool/runtime/resource"
	"sandpool/runtime/runsc"
)

// Config says where containerd and runsc are and how they are used. All fields are required but Settings and NICs.
type Config struct {
	Address        string // containerd's socket
	Namespace      string // containerd's namespace; the engine takes everything with a sandbox's id in it for its own
	Snapshotter    string
	ConnectTimeout time.Duration

	Runsc     string // a program in PATH or an absolute path
	Shim      string // containerd's name of the runtime, the shim's absolute path, or runsc.AutoShim
	Init      string // the static init that every sandbox runs as PID 1
	StateDir  string // holds generated files; one engine at a time
	Platforms []string
	Settings  map[string]runsc.Setting // runsc flags by name

	CanaryTimeout time.Duration // for the trial of one platform
	StartTimeout  time.Duration // create, start and readiness of one sandbox
	PauseTimeout  time.Duration // one pause, resume, label or listing
	KillTimeout   time.Duration // one destroy, before force is used and again after

	CheckpointTimeout time.Duration // one checkpoint; the sandbox is lost after it

	Images  image.Policy
	Fetched func(image.Status) // told when an image was pulled or imported, or when it cannot be had for a new reason

	NICs resource.NICs // the network interfaces of sandboxes

	Called func(call string, took time.Duration, err error) // told of each call of containerd and runsc; call is one of few words

	Step func(string) // told at every step after which a crash must leave nothing behind
}

// Info says what the engine runs on.
type Info struct {
	Containerd, Runsc string   // versions
	Shim, Platform    string   // containerd's name of the shim, or the shim's path
	Canaries          []Canary // in the order tried
	Warnings          []string
}

// Engine starts, freezes and destroys sandboxes. Its methods may be called from many goroutines.
type Engine struct {
	cfg    Config
	log    *slog.Logger
	client *client.Client
	owned  *resource.Set // what each sandbox owns; known once connected
	calls  call.Caller
	runsc  runsc.Program
	info   Info
	init   program

	state, namespace *lockfile.Lock // on the state folder, and on containerd's namespace

	panicLogs bool          // each sandbox's sentry has a file for what it says when it crashes
	trials    chan struct{} // one slot: held by whoever tries a platform for a template

	commands  *command.Starter
	pauses    *pause.Pauser // once containerd is connected
	looks     looks
	handles   handles
	images    *image.Store // once containerd is connected
	mu        sync.Mutex
	snapshots string          // folder of the snapshotter
	hidden    map[string]bool // sandboxes of the engine's own
}

// Open connects to containerd, checks versions and settings, writes the shim's files and tries the platforms.
// Errors say what to do about them.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (_ *Engine, err error) {
	e := newEngine(cfg, log)
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if err := e.lockState(); err != nil {
		return nil, err
	}
	if err := e.openRunsc(ctx); err != nil {
		return nil, err
	}
	if err := e.connect(ctx); err != nil {
		return nil, err
	}
	if err := e.lockNamespace(ctx); err != nil {
		return nil, err
	}
	if err := e.choosePlatform(ctx); err != nil {
		return nil, err
	}
	if err := e.pauses.Settle(ctx, e.probe); err != nil {
		return nil, err
	}
	// Nothing can be starting yet, so every half-made thing is left over from an earlier life.
	return e, e.Sweep(ctx, func(string) bool { return false })
}

// newEngine makes an engine that has touched nothing yet, and is to be closed all the same.
func newEngine(cfg Config, log *slog.Logger) *Engine {
	e := &Engine{
		cfg: cfg, log: log, trials: make(chan struct{}, 1), hidden: map[string]bool{},
		calls:   call.Caller{Namespace: cfg.Namespace, Called: cfg.Called},
		handles: newHandles(),
	}
	e.commands = command.New(command.Config{
		Calls: e.calls, Root: cfg.runscRoot(), FIFODir: cfg.fifoDir(), StartTimeout: cfg.StartTimeout, PauseTimeout: cfg.PauseTimeout, Step: cfg.Step, Log: log,
	})
	return e
}

// Close lets go of containerd, of its namespace and of the state folder. Sandboxes stay.
func (e *Engine) Close() error {
	e.commands.Close()
	var errs []error
	if e.client != nil {
		e.pauses.Close()
		errs = append(errs, e.client.Close())
	}
	return errors.Join(append(errs, e.namespace.Release(), e.state.Release())...)
}

func (e *Engine) newImages(c *client.Client) *image.Store {
	return image.New(image.Config{
		Client: c, Namespace: e.cfg.Namespace, Snapshotter: e.cfg.Snapshotter, Calls: e.calls,
		ListTimeout: e.cfg.PauseTimeout, PruneTimeout: e.cfg.StartTimeout,
		Free: e.freeDisk, Unseen: e.unseen, Fetched: e.cfg.Fetched, Log: e.log,
	}, e.cfg.Images)
}

// Images are those of the templates.
func (e *Engine) Images() *image.Store { return e.images }

// Info says what the engine runs on.
func (e *Engine) Info() Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	info := e.info
	info.Canaries = slices.Clone(info.Canaries)
	return info
}

// runscDir is where runsc keeps its own state.
func (c Config) runscDir() string { return filepath.Join(c.StateDir, "runsc") }

// runscRoot is the part of it that is about the sandboxes.
func (c Config) runscRoot() runsc.Root { return runsc.Root(filepath.Join(c.runscDir(), c.Namespace)) }

// fifoDir is where the pipes of exec'd processes are made.
func (c Config) fifoDir() string { return filepath.Join(c.StateDir, "fifo") }

// openRunsc finds runsc, checks its version and writes the shim's files from what its flags allow.
func (e *Engine) openRunsc(ctx context.Context) error {
	if err := e.findRunsc(ctx); err != nil {
		return err
	}
	if err := e.findInit(); err != nil {
		return err
	}
	warning, err := e.runsc.CheckVersion()
	if err != nil {
		return err
	}
	if warning != "" {
		e.warn(warning)
	}
	if err := e.runsc.ReadFlags(ctx); err != nil {
		return err
	}
	return e.applySettings(ctx)
}

// findRunsc finds runsc and asks it for its version.
func (e *Engine) findRunsc(ctx context.Context) (err error) {
	e.runsc, err = runsc.Find(ctx, e.cfg.Runsc)
	e.info.Runsc = e.runsc.Version
	return err
}

func (e *Engine) findInit() error {
	if _, err := os.Stat(e.cfg.Init); err != nil {
		return fmt.Errorf("find the sandboxes' init: %w: install sandpool-init or set runsc.init", err)
	}
	return nil
}

// applySettings checks the flags that are configured against those that runsc has, and writes the shim's files.
func (e *Engine) applySettings(ctx context.Context) error {
	settings, warnings, err := e.runsc.Accept(ctx, e.cfg.Settings)
	for _, w := range warnings {
		e.warn(w)
	}
	if err != nil {
		return err
	}
	_, known := e.runsc.Flags[runsc.FlagPanicLog]
	_, taken := settings[runsc.FlagPanicLog]
	e.panicLogs = known && !taken
	return errors.Join(
		runsc.WritePlatformFiles(e.cfg.StateDir, e.runsc.Path, e.cfg.runscDir(), settings),
		runsc.WriteRestorer(e.cfg.StateDir, e.runsc.Path, e.cfg.shimDir()),
	)
}

func (e *Engine) warn(text string) {
	e.info.Warnings = append(e.info.Warnings, text)
	e.log.Warn("check at start", "warning", text)
}

// connect waits for containerd and checks its version.
func (e *Engine) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.ConnectTimeout,
		fmt.Errorf("no answer within %s: %w", e.cfg.ConnectTimeout, errdefs.ErrUnavailable))
	defer cancel()
	c, err := client.New(e.cfg.Address, client.WithDefaultNamespace(e.cfg.Namespace), client.WithTimeout(e.cfg.ConnectTimeout))
	if err == nil {
		e.use(c)
		err = e.awaitContainerd(ctx)
	}
	if err != nil {
		return fmt.Errorf("connect to containerd at %s: %w: start containerd (systemctl start containerd) or set containerd.address", e.cfg.Address, err)
	}
	e.info.Shim, _ = e.findShim(ctx) // without it no sandbox starts, which is said then
	return checkContainerd(e.info.Containerd)
}

// use makes a client the engine's.
func (e *Engine) use(c *client.Client) {
	e.client, e.images = c, e.newImages(c)
	e.pauses = pause.New(pause.Config{
		Client: c, Calls: e.calls, Program: e.runsc, Root: e.cfg.runscRoot(), Timeout: e.cfg.PauseTimeout, Step: e.cfg.Step, Log: e.log,
	})
	e.owned = resource.New(resource.Config{
		Client: c, Address: e.cfg.Address, Namespace: e.cfg.Namespace, Snapshotter: e.cfg.Snapshotter,
		RunscDir: string(e.cfg.runscRoot()), FilesDir: e.cfg.shimDir(), NICs: e.cfg.NICs, Step: e.cfg.Step,
	})
}

func (e *Engine) awaitContainerd(ctx context.Context) error {
	serving, err := e.client.IsServing(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	if !serving {
		return fmt.Errorf("it is not serving: %w", errdefs.ErrUnavailable)
	}
	version, err := e.client.Version(ctx)
	e.info.Containerd = version.Version
	return err
}

// Ping asks containerd for an answer, for which it waits as long as a start does.
func (e *Engine) Ping(ctx context.Context) error {
	return e.calls.Do(ctx, e.cfg.ConnectTimeout, call.Op{Verb: "ping", Object: "containerd"}, func(ctx context.Context) error {
		_, err := e.client.VersionService().Version(ctx, nil)
		return err
	})
}

// on is an operation on a sandbox, or with part on a part of it, such as "readiness of ".
func on(verb, part, id string) call.Op {
	return call.Op{Verb: verb, Object: part + "sandbox " + id, Sandbox: id}
}

// idPattern is what a sandbox's id looks like. All have one length, since runsc takes a prefix of an id for the id.
var idPattern = regexp.MustCompile(`^sb-[a-z2-7]{16}$`)

// NewID returns a fresh sandbox id, "sb-" and 80 random bits.
func NewID() string { return "sb-" + strings.ToLower(rand.Text()[:16]) }
