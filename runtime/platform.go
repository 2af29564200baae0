package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// The platforms that gVisor has: the ways in which a sentry catches its sandbox's system calls.
const (
	systrap = "systrap"
	kvm     = "kvm"
	ptrace  = "ptrace"
	auto    = "auto"
)

var platforms = []string{systrap, kvm, ptrace}

// Canary is what became of the trial of one platform.
type Canary struct {
	Platform string
	OK       bool
	Reason   string // why not
	Took     time.Duration
}

// candidatesFor resolves auto: kvm wins on bare metal only, since nested virtualisation is slower than systrap.
func candidatesFor(configured []string, virtual bool) []string {
	if len(configured) != 1 || configured[0] != auto {
		return configured
	}
	if virtual {
		return []string{systrap, ptrace}
	}
	return []string{kvm, systrap, ptrace}
}

// isVirtual tells whether the processor says that it runs under a hypervisor.
func isVirtual() bool {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return true // the safer guess: systrap works everywhere
	}
	for line := range strings.Lines(string(info)) {
		if flags, ok := strings.CutPrefix(line, "flags"); ok {
			return strings.Contains(flags+" ", " hypervisor ")
		}
	}
	return true
}

// choosePlatform takes the first configured platform on which a sandbox really runs.
func (e *Engine) choosePlatform(ctx context.Context) error {
	var reasons []string
	for _, platform := range candidatesFor(e.cfg.Platforms, isVirtual()) {
		c := e.tryPlatform(ctx, platform)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		e.info.Canaries = append(e.info.Canaries, c)
		if c.OK {
			e.log.Info("platform chosen", "platform", platform, "canary_ms", c.Took.Milliseconds())
			e.info.Platform = platform
			return nil
		}
		e.warn(fmt.Sprintf("platform %s cannot be used: %s", platform, c.Reason))
		reasons = append(reasons, platform+": "+c.Reason)
	}
	return fmt.Errorf("no configured gVisor platform works here; set runsc.platform to another one or to \"auto\" (%s)", strings.Join(reasons, "; "))
}

// tryPlatform runs a sandbox on the platform. That its device opens proves nothing: only a run does.
func (e *Engine) tryPlatform(ctx context.Context, platform string) Canary {
	began := time.Now()
	id := NewID()
	err := e.call(ctx, e.cfg.CanaryTimeout, "canary", func(ctx context.Context) error {
		t, err := e.prepare(ctx, nil, Template{}) // an empty root file system and the init: needs no image
		if err != nil {
			return err
		}
		if _, err := e.start(ctx, id, t, platform, map[string]string{"sandpool.state": "canary"}); err != nil {
			return err
		}
		return e.learnBundles(id)
	})
	// Once the canary missed its deadline nothing can be learnt from asking it politely to end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*e.cfg.KillTimeout)
	defer cancel()
	if err != nil {
		err = errors.Join(err, killProcesses(ctx, id, anyServant))
	}
	if destroyErr := e.Destroy(ctx, id); err == nil {
		err = destroyErr
	}
	c := Canary{Platform: platform, OK: err == nil, Took: time.Since(began)}
	if err != nil {
		c.Reason = err.Error()
	}
	return c
}
