package daemon

import (
	"maps"
	goruntime "runtime"
	"slices"
	"strings"

	"sandpool/configs"
	"sandpool/daemon/begin"
	"sandpool/daemon/hooks"
	"sandpool/daemon/templates"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime/egress"
	"sandpool/runtime/template"
)

// poolConfigs makes a pool for every template.
func poolConfigs(c configs.Config) []pool.Config {
	var list []pool.Config
	for _, name := range slices.Sorted(maps.Keys(c.Templates)) {
		p := c.PoolOf(name)
		list = append(list, pool.Config{
			Name: wire.PoolName(c.Region, name), Template: name,
			MaxAge: p.MaxAge.Std(), RefreshAge: c.RefreshAge(p), Recycle: recycles[p.Recycle], Size: poolSize(p),
		})
	}
	return list
}

// recycles are the words of the configuration in those of the pools.
var recycles = map[string]pool.Recycle{configs.RecycleDestroy: pool.RecycleDestroy, configs.RecycleReset: pool.RecycleReset}

func poolSize(p configs.Pool) pool.Size {
	return pool.Size{
		Min: p.Min, Target: p.Target, Max: p.Max, ScaleUp: p.ScaleUp, ScaleDown: p.ScaleDown, Hot: p.Hot, Adaptive: p.Adaptive,
	}
}

// startsAtOnce is the most sandboxes that are started at once.
func startsAtOnce(l configs.Limits) int {
	if l.Starts == 0 {
		return goruntime.GOMAXPROCS(0)
	}
	return l.Starts
}

func wantedTemplates(c configs.Config) map[string]templates.Wanted {
	all := map[string]templates.Wanted{}
	for name, t := range c.Templates {
		all[name] = templates.Wanted{Snapshot: t.Snapshot, OnClaim: begin.Hook{Command: t.OnClaim, Timeout: t.OnClaimTimeout}.Encode(), Rules: t.Network.Layers().String(), Template: template.Template{
			Image: t.Image, Command: t.Command, ImageCommand: t.ImageCommand, Env: environment(t), Network: networkMode(t.Network),
			User: t.User, Cwd: t.Cwd, Platform: t.Platform, AllowSetuid: t.AllowSetuid, Limits: limits(t), Mounts: mounts(t.Mounts),
			Prewarm: t.Prewarm, PrewarmTimeout: t.PrewarmTimeout.Std(),
			ReadyCommand: t.ReadyCommand, ReadyPort: t.ReadyPort, ReadyTimeout: t.ReadyTimeout.Std(),
		}}
	}
	return all
}

// networkMode is the mode as the runtime has it.
func networkMode(n configs.TemplateNetwork) string {
	if n.Layers().Open() {
		return n.Mode
	}
	return ""
}

// environment is the template's, with what names the sandbox's proxy unless the template says otherwise.
func environment(t configs.Template) []string {
	if !t.Network.ProxyEnv {
		return t.Env
	}
	env := slices.Clone(t.Env)
	for _, entry := range egress.ProxyEnv() {
		name, _, _ := strings.Cut(entry, "=")
		if !slices.ContainsFunc(t.Env, func(own string) bool { return strings.HasPrefix(own, name+"=") }) {
			env = append(env, entry)
		}
	}
	return env
}

func limits(t configs.Template) template.Limits {
	return template.Limits{CPUs: t.CPUs, Memory: int64(t.MemoryMiB) << 20, Disk: int64(t.DiskMiB) << 20, PIDs: int64(t.PIDs), Ulimits: t.Ulimits}
}

func mounts(configured []configs.Mount) []template.Mount {
	var list []template.Mount
	for _, m := range configured {
		list = append(list, template.Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Size: int64(m.SizeMiB) << 20})
	}
	return list
}

func hookList(c configs.Config) []hooks.Hook {
	var list []hooks.Hook
	for _, h := range c.Hooks {
		list = append(list, hooks.Hook{Events: h.Events, URL: h.URL, Command: h.Command, Timeout: h.Timeout.Std(), Retries: h.Retries})
	}
	return list
}
