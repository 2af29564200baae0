package pool

import (
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

// Validate reports every fault of a size at once; the error is of class InvalidArgument.
func (s Size) Validate() error {
	var errs []error
	check := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	check(s.Min >= 0, "min must not be negative")
	check(s.Min <= s.Target, "min must not be over target")
	check(s.Target <= s.Max, "target must not be over max")
	check(s.Max >= 1, "max must be at least 1")
	check(s.Hot >= 0 && s.Hot <= s.Max, "hot must be between 0 and max")
	check(s.ScaleUp >= 1 && s.ScaleUp <= 100, "scale_up_threshold must be between 1 and 100 per cent")
	check(s.ScaleDown >= 0 && s.ScaleDown < s.ScaleUp, "scale_down_threshold must be below scale_up_threshold")
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", errors.Join(errs...), errdefs.ErrInvalidArgument)
}

// Resize changes a pool while it is in use. Claimed sandboxes are not touched.
func (c *Controller) Resize(template string, change func(*Size)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.poolLocked(template)
	if err != nil {
		return err
	}
	size := p.Size
	change(&size)
	if err := size.Validate(); err != nil {
		return fmt.Errorf("pool %s: %w", p.Name, err)
	}
	c.resizeLocked(p, size)
	return nil
}

// resizeLocked makes a pool as large as its new target and dooms what it has too much.
func (c *Controller) resizeLocked(p *pool, size Size) {
	p.Size = size
	p.size = size.Target
	c.dropLocked(p, p.count(Available, Hot, Reserved, Claimed)-p.size, time.Now())
	c.loop.Wake()
}

// Drain empties a pool and holds its refilling until Resize ends that. Claims are still served, by cold starts.
func (c *Controller) Drain(template string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.poolLocked(template)
	if err != nil {
		return err
	}
	c.drainLocked(p)
	c.step("drain begun")
	return nil
}

func (c *Controller) drainLocked(p *pool) {
	p.Hold, p.size = true, 0
	c.dropLocked(p, len(p.sandboxes), time.Now())
	c.loop.Wake()
}

// Configure replaces the configuration of all pools: new ones are filled, changed ones resized, and what was started from
// something older is replaced one by one. Pools that are not in the list are emptied; their claims live on.
func (c *Controller) Configure(pools []Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := c.pools
	c.pools = map[string]*pool{}
	for _, cfg := range pools {
		p, ok := gone[cfg.Template]
		if !ok {
			c.pools[cfg.Template] = newPool(cfg)
			continue
		}
		delete(gone, cfg.Template)
		c.pools[cfg.Template] = p
		resized := p.Size != cfg.Size
		p.Config = cfg
		p.failures, p.retryAt = 0, time.Time{} // what failed may have been mended
		if resized {
			c.resizeLocked(p, cfg.Size)
		}
	}
	for _, p := range gone {
		c.drainLocked(p)
		p.refuseLocked(removed(p.Template))
	}
	c.loop.Wake()
}

func removed(template string) error {
	return fmt.Errorf("template %q was removed: %w", template, errdefs.ErrNotFound)
}
