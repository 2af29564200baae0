package network

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// echo is a server that sandboxes may reach.
const echo = "echo.example.com:7"

// works notes when the victim's sandbox has no network.
func (g *Ground) works(ctx context.Context) {
	if out, err := g.Victim(ctx, "guest fetch http://www.example.com/"); err != nil || !strings.Contains(out, "hello from www.example.com") {
		g.Through("the victim's sandbox is not served: %.200q, %v", out, err)
	}
}

// connections are 2,000 one after the other and 300 at once. Bounds may refuse some of those that are made at once, and none of the others.
// More would take the memory of a small sandbox: for a minute gVisor keeps 11 KiB of each that was closed, with or without a door.
func connections(ctx context.Context, g *Ground) error {
	for _, n := range []struct{ total, width, least int }{{2000, 4, 2000}, {300, 300, 200}, {50, 1, 50}} {
		if err := g.many(ctx, n.total, n.width, n.least); err != nil {
			return err
		}
		g.works(ctx)
	}
	return nil
}

// many makes connections, of which at least some must be served.
func (g *Ground) many(ctx context.Context, total, width, least int) error {
	out, err := g.Guest(ctx, fmt.Sprintf("guest many %s %d %d", echo, total, width))
	if err != nil {
		return err
	}
	var served, failed int
	if _, err := fmt.Sscanf(out, "served %d failed %d", &served, &failed); err != nil {
		return fmt.Errorf("the attack was not made: %w: %.200q", err, out)
	}
	for range served + failed {
		g.Tried()
	}
	if served < least {
		g.Through("of %d connections, %d at once, only %d were served: %.300q", total, width, served, out)
	}
	return nil
}

// left has a sandbox open what it may and leave it, and looks whether the other is served meanwhile, and itself afterwards, and whether the
// daemon has closed what it had open for it.
func left(ctx context.Context, g *Ground) error {
	before, err := g.Files()
	if err != nil {
		return err
	}
	for _, target := range []string{"www.example.com:443", "www.example.com:80", "127.0.0.1:3128", "127.0.0.1:53"} {
		out, err := g.Guest(ctx, "rm -f /tmp/held; mkfifo /tmp/held; guest leave "+target+" 300 <>/tmp/held >/tmp/left 2>&1 & until grep open /tmp/left; do sleep 0.1; done")
		if err != nil {
			return err
		}
		var open int
		if _, err := fmt.Sscanf(out, "open %d", &open); err != nil || open == 0 {
			return errors.Join(fmt.Errorf("the attack was not made: %.200q", out), err)
		}
		g.Tried()
		g.works(ctx)
		// What is closed gives its room back, in a moment.
		out, err = g.Guest(ctx, "killall guest; n=0; until guest many "+echo+" 20 1 | grep 'served 20 '; do sleep 0.1; n=$((n+1)); [ $n -lt 100 ] || break; done")
		if err != nil {
			return err
		}
		if !strings.Contains(out, "served 20 ") {
			g.Through("after connections to %s that were left and closed the sandbox is not served: %.200q", target, out)
		}
	}
	const others = 50 // that the daemon may have opened for others
	if now, err := g.Files(); err != nil || now > before+others {
		g.Through("the daemon had %d files open and has %d, %v", before, now, err)
	}
	return nil
}

// questions ask for names that are denied: each must be answered, and none must leave the host.
func questions(ctx context.Context, g *Ground) error {
	const total = 3000
	for _, way := range []string{"udp", "tcp"} {
		out, err := g.Guest(ctx, fmt.Sprintf("guest ask %s %d", way, total))
		if err != nil {
			return err
		}
		var denied, lost int
		if _, err := fmt.Sscanf(out, "denied %d lost %d", &denied, &lost); err != nil {
			return fmt.Errorf("the attack was not made: %w: %.200q", err, out)
		}
		if denied < total*9/10 {
			g.Through("of %d questions by %s only %d were denied, and %d had no answer", total, way, denied, lost)
		}
		g.Tried()
		g.works(ctx)
	}
	for i := range total {
		if n := g.World.Names.Asked(fmt.Sprintf("n%d.denied.example.com", i)); n > 0 {
			g.Through("a name that is denied was looked up %d times", n)
			break
		}
	}
	return nil
}
