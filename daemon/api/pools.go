package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"

	"sandpool/configs"
	"sandpool/daemon/wire"
	"sandpool/pool"
)

func (a *api) listPools(w http.ResponseWriter, r *http.Request) error {
	who, _ := actorOf(r.Context())
	list := wire.PoolList{Pools: []wire.Pool{}}
	for _, p := range a.Pools() {
		p.Degraded = who.reason(p.Degraded)
		list.Pools = append(list.Pools, wirePool(p))
	}
	return answerJSON(w, http.StatusOK, list)
}

// changePool changes a pool until the next reload or start.
func (a *api) changePool(w http.ResponseWriter, r *http.Request) error {
	name, err := a.operated(r)
	if err != nil {
		return err
	}
	var body wire.PoolChange
	if err := decode(w, r, &body); err != nil {
		return err
	}
	if body.Max != nil && *body.Max > configs.MaxPool {
		return invalid("max: %d: want at most %d", *body.Max, configs.MaxPool)
	}
	if err := a.Sizes.Resize(name, func(s *pool.Size) { apply(body, s) }); err != nil {
		return err
	}
	return a.answerChanged(w, r, name)
}

// drainPool empties a pool and keeps it empty until hold is taken back.
func (a *api) drainPool(w http.ResponseWriter, r *http.Request) error {
	name, err := a.operated(r)
	if err != nil {
		return err
	}
	if err := decode(w, r, &struct{}{}); err != nil {
		return err
	}
	if err := a.Sizes.Drain(name); err != nil {
		return err
	}
	return a.answerChanged(w, r, name)
}

// operated returns the template of the pool that the path names, to a caller who may change pools.
func (a *api) operated(r *http.Request) (string, error) {
	if err := mayOperate(r, "change pools"); err != nil {
		return "", err
	}
	name := r.PathValue("name")
	region, template, both := strings.Cut(name, ":")
	if !both {
		return name, nil
	}
	if region != a.Info.Region {
		return "", noPool(name)
	}
	return template, nil
}

// mayOperate refuses callers who are neither root nor the daemon's own user.
func mayOperate(r *http.Request, what string) error {
	if who, _ := actorOf(r.Context()); !who.operates() {
		return errdefs.ErrPermissionDenied.WithMessage("only root and the daemon's own user may " + what)
	}
	return nil
}

func (a *api) answerChanged(w http.ResponseWriter, r *http.Request, template string) error {
	for _, p := range a.Pools() {
		if p.Template == template {
			who, _ := actorOf(r.Context())
			a.Log.Info("pool changed", "pool", p.Name, "size", p.Size, "by", who.owner())
			return answerJSON(w, http.StatusOK, wirePool(p))
		}
	}
	return noPool(template) // a reload removed it meanwhile
}

func noPool(name string) error {
	return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no such pool: %q", name))
}

// apply puts what a change names into s.
func apply(change wire.PoolChange, s *pool.Size) {
	set(&s.Min, change.Min)
	set(&s.Target, change.Target)
	set(&s.Max, change.Max)
	set(&s.ScaleUp, change.ScaleUp)
	set(&s.ScaleDown, change.ScaleDown)
	set(&s.Hot, change.Hot)
	set(&s.Adaptive, change.Adaptive)
	set(&s.Hold, change.Hold)
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func wirePool(p pool.Overview) wire.Pool {
	return wire.Pool{
		Name: p.Name, Template: p.Template, Min: p.Min, Target: p.Target, Max: p.Max, Wanted: p.Wanted,
		ScaleUp: p.ScaleUp, ScaleDown: p.ScaleDown, Hot: p.Hot, Adaptive: p.Adaptive, Hold: p.Hold,
		Ready: p.Available, Available: p.Available, Running: p.Running, InUse: p.InUse, Starting: p.Warming, Warming: p.Warming, Total: p.Total,
		Waiting: p.Waiting, Started: p.Counters.Started, Degraded: p.Degraded, Blocked: p.Blocked,
	}
}
