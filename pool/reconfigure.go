package pool

import (
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

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

// Configure replaces the configuration of all pools, but for sources that are not given: new ones are filled, changed ones resized, and what was started from
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
		if cfg.Source == nil { // Prepared has said what, and will say what is new
			cfg.Source = p.Source
		}
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
