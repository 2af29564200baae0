// Package listing makes tables of what the daemon tells.
package listing

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sandpool/cmd/sandpool/table"
	"sandpool/daemon/wire"
)

// Ago says how long ago t was, Until how long it is to t.
func Ago(t time.Time) string   { return table.Duration(time.Since(t)) }
func Until(t time.Time) string { return table.Duration(time.Until(t)) } //nolint:revive // said above

// Pools is a table of pools.
func Pools(pools []wire.Pool) *table.Table {
	number := func(name string, drop int) table.Column { return table.Column{Name: name, Right: true, Drop: drop} }
	t := table.New(table.Column{Name: "POOL", Cut: true}, number("READY", 0), number("RUNNING", 8), number("STARTING", 3), number("IN USE", 1), number("WAITING", 4),
		number("TOTAL", 7), number("MIN", 6), number("TARGET", 2), number("WANTED", 5), number("MAX", 4), table.Column{Name: "STATE"}, table.Column{Name: "REASON", Cut: true, Rare: true})
	for _, p := range pools {
		state, reason := PoolState(p)
		t.Styled(poolStyle(p), p.Name, p.Ready, p.Running, p.Starting, p.InUse, p.Waiting, p.Total, p.Min, p.Target, p.Wanted, p.Max, state, reason)
	}
	return t
}

// PoolState says what keeps a pool from its size, and why.
func PoolState(p wire.Pool) (state, reason string) {
	var words, reasons []string
	if p.Degraded != "" {
		words, reasons = append(words, "degraded"), append(reasons, p.Degraded)
	}
	if p.Blocked != "" {
		words, reasons = append(words, "blocked"), append(reasons, p.Blocked)
	}
	if p.Hold {
		words = append(words, "on hold")
	}
	if len(words) == 0 && p.Total < p.Wanted {
		words = append(words, "filling")
	}
	return cmp.Or(strings.Join(words, ", "), "ok"), strings.Join(reasons, "; ")
}

func poolStyle(p wire.Pool) table.Style {
	switch {
	case p.Degraded != "" || p.Blocked != "":
		return table.Bad
	case p.Hold:
		return table.Soon
	default:
		return table.Plain
	}
}

// Checkpoints is a table of checkpoints.
func Checkpoints(saved []wire.Checkpoint) *table.Table {
	t := table.New(table.Column{Name: "ID"}, table.Column{Name: "TEMPLATE", Cut: true, Drop: 3}, table.Column{Name: "AGE", Right: true}, table.Column{Name: "SIZE", Right: true, Drop: 2},
		table.Column{Name: "TRIGGER", Drop: 1}, table.Column{Name: "CLAIM", Drop: 4}, table.Column{Name: "PARENT", Drop: 5}, table.Column{Name: "OWNER", Drop: 6},
		table.Column{Name: "RUNSC", Wide: true}, table.Column{Name: "IMAGE", Wide: true}, table.Column{Name: "COMMENT", Cut: true, Rare: true})
	for _, c := range saved {
		t.Row(c.ID, c.Template, Ago(c.CreatedAt), table.Bytes(c.Bytes), c.Trigger, c.Claim, c.Parent, c.Owner, c.Runsc, c.Image, c.Comment)
	}
	return t
}

// Templates is a table of templates.
func Templates(templates []wire.Template) *table.Table {
	t := table.New(table.Column{Name: "TEMPLATE"}, table.Column{Name: "IMAGE", Cut: true, Drop: 1}, table.Column{Name: "CPUS", Right: true, Drop: 3}, table.Column{Name: "MEMORY", Right: true, Drop: 2},
		table.Column{Name: "DISK", Right: true, Drop: 4}, table.Column{Name: "PIDS", Right: true, Drop: 5}, table.Column{Name: "SNAPSHOT", Drop: 6}, table.Column{Name: "DIGEST", Wide: true},
		table.Column{Name: "STATE"}, table.Column{Name: "REASON", Cut: true, Rare: true})
	for _, p := range templates {
		t.Styled(failed(p.State == wire.TemplateFailed), p.Name, p.Image, limit(p.CPUs), table.MiB(p.MemoryMiB), table.MiB(p.DiskMiB), limit(p.PIDs), p.Snapshot, p.Digest, p.State, p.Reason)
	}
	return t
}

// failed is how what failed looks, and what did not.
func failed(did bool) table.Style {
	if did {
		return table.Bad
	}
	return table.Plain
}

// limit writes a limit; 0 stands for none.
func limit[N int | float64](n N) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// Images is a table of images.
func Images(images []wire.Image) *table.Table {
	t := table.New(table.Column{Name: "IMAGE", Cut: true}, table.Column{Name: "STATE"}, table.Column{Name: "LAYERS", Right: true, Drop: 3}, table.Column{Name: "FETCHED", Right: true, Drop: 1},
		table.Column{Name: "DIGEST", Drop: 4}, table.Column{Name: "TEMPLATES", Cut: true, Drop: 2}, table.Column{Name: "REASON", Cut: true, Rare: true})
	for _, i := range images {
		t.Styled(failed(i.State == wire.ImageFailed), i.Image, i.State, fmt.Sprintf("%d/%d", i.Layers, i.LayersTotal), fetched(i), shortDigest(i.Digest), strings.Join(i.Templates, ","), strings.TrimPrefix(i.Error, "image "+i.Image+": "))
	}
	return t
}

// fetched is how much of an image is there.
func fetched(i wire.Image) string {
	if i.Bytes == i.BytesTotal {
		return table.Bytes(i.Bytes)
	}
	return table.Bytes(i.Bytes) + " of " + table.Bytes(i.BytesTotal)
}

// shortDigest is enough of a digest to tell it from others.
func shortDigest(digest string) string {
	_, hash, _ := strings.Cut(digest, ":")
	return hash[:min(len(hash), 12)]
}

// Processes is a table of a sandbox's processes.
func Processes(list []wire.Process) *table.Table {
	t := table.New(table.Column{Name: "PID", Right: true}, table.Column{Name: "USER", Drop: 4}, table.Column{Name: "STATE"}, table.Column{Name: "STARTED", Right: true, Drop: 1},
		table.Column{Name: "CPU", Right: true, Drop: 2}, table.Column{Name: "MEMORY", Right: true, Drop: 3}, table.Column{Name: "COMMAND", Cut: true})
	for _, p := range list {
		mark := ""
		if p.Supervised {
			mark = "*"
		}
		cpu := time.Duration(p.CPUMS * float64(time.Millisecond))
		t.Row(strconv.Itoa(p.PID)+mark, p.User, ProcessState(p), Ago(p.StartedAt), table.Took(cpu), table.Bytes(p.MemoryBytes), strings.Join(p.Args, " "))
	}
	return t
}

// ProcessState is the state of a process.
func ProcessState(p wire.Process) string {
	switch {
	case p.TimedOut:
		return "timed out"
	case p.ExitCode != nil:
		return fmt.Sprintf("exited %d", *p.ExitCode)
	default:
		return p.State
	}
}

// Steps is a table of the steps of a template's trial.
func Steps(steps []wire.TemplateStep) *table.Table {
	t := table.New(table.Column{Name: "STEP"}, table.Column{Name: "RESULT"}, table.Column{Name: "TOOK", Right: true}, table.Column{Name: "DETAIL", Rare: true})
	for _, s := range steps {
		if s.OK {
			t.Row(s.Step, "ok", table.Took(time.Duration(s.TookMS*float64(time.Millisecond))), "")
		} else {
			t.Styled(table.Bad, s.Step, "FAILED", "", s.Detail)
		}
	}
	return t
}
