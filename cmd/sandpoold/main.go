// Command sandpoold keeps gVisor containers ready in containerd and hands them out over a unix socket.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	containerdlog "github.com/containerd/log"

	"sandpool/configs"
	"sandpool/daemon"
	"sandpool/systemd"
)

// version is set by the linker.
var version = "devel"

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "sandpoold:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case o.version:
		_, err := fmt.Fprintln(stdout, "sandpoold", version)
		return err
	}
	cfg, missing, err := o.load()
	if err != nil {
		return err
	}
	if o.check {
		_, err := fmt.Fprintf(stdout, "%s: no fault found\n", o.config)
		return err
	}
	log := newLogger(cfg.Daemon, stderr)
	if missing {
		log.Warn("there is no configuration file; the defaults are used", "file", o.config)
	}
	return serve(o, cfg, log)
}

// serve runs the daemon until SIGTERM or SIGINT. The second of them ends the process at once. SIGHUP reloads.
func serve(o options, cfg configs.Config, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	listener, err := systemd.Listener()
	if err != nil {
		return err
	}
	watchdog, err := systemd.Watchdog()
	if err != nil {
		return err
	}
	return daemon.New(daemon.Options{
		Config: cfg, Reload: hangup, Load: o.reload, Version: version, Listener: listener, Notify: systemd.Notifier(log), Watchdog: watchdog,
		Step: step, Log: log,
	}).Run(ctx)
}

// options are the command line.
type options struct {
	config         string
	named          bool // config was given, so it must exist
	check, version bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("sandpoold", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.config, "config", configs.DefaultPath, "configuration `file`")
	flags.BoolVar(&o.check, "check-config", false, "report every fault of the configuration file and exit")
	flags.BoolVar(&o.version, "version", false, "print the version and exit")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: sandpoold [--config FILE]\n       sandpoold --check-config [FILE]\n       sandpoold --version")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	flags.Visit(func(f *flag.Flag) { o.named = o.named || f.Name == "config" })
	if o.check && !o.named && flags.NArg() == 1 {
		o.config, o.named = flags.Arg(0), true
	} else if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: see sandpoold --help", flags.Arg(0))
	}
	return o, nil
}

// load reads the configuration. A file that nobody named may be missing: then there are the defaults.
func (o options) load() (cfg configs.Config, missing bool, err error) {
	if !o.named {
		return configs.LoadOrDefault(o.config)
	}
	cfg, err = configs.Load(o.config)
	return cfg, false, err
}

// reload is load for a daemon that runs: a file that is missing is a fault of the moment.
func (o options) reload() (configs.Config, error) { return configs.Load(o.config) }

// newLogger makes the logger that is asked for, and lets containerd's client and the standard library log through it.
func newLogger(cfg configs.Daemon, out io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.Level()}
	var handler slog.Handler = slog.NewTextHandler(out, opts)
	if cfg.LogFormat == "json" {
		handler = slog.NewJSONHandler(out, opts)
	}
	if journal := systemd.Journal(opts.Level); journal != nil {
		handler = journal
	}
	log := slog.New(handler)
	slog.SetDefault(log)
	containerdlog.UseSlog()
	return log
}
