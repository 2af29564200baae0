package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sandpool/daemon/wire"
	"sandpool/scripts/outside"
	"sandpool/scripts/testhost"
)

const (
	attackerUID = 1234
	victimUID   = 1235
)

// ground is a host with a daemon, an attacker and a victim.
type ground struct {
	host    *testhost.Host
	program string // sandpoold
	daemon  *testhost.Process
	stopped bool // by an attack, which is the last

	root, attacker, victim *user

	world    *outside.World // what sandboxes may reach; daemons are in it
	registry *registry
	secret   string          // in the victim's sandbox, and in a file of root's on the host
	claim    wire.Claim      // the victim's
	saved    wire.Checkpoint // the victim's
}

// openGround starts a host and a daemon, and gives the victim a claim and a checkpoint.
func openGround(ctx context.Context, program string) (*ground, error) {
	host, err := testhost.Start(ctx, testhost.Options{Namespace: fmt.Sprintf("hostile-%d", os.Getpid())})
	if err != nil {
		return nil, err
	}
	g := &ground{host: host, program: program, secret: "secret-" + strings.ToLower(rand.Text())}
	if program == "" {
		g.program = filepath.Join(filepath.Dir(host.Init), "sandpoold")
	}
	if err := g.open(ctx); err != nil {
		host.ShowLogs(40)
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *ground) open(ctx context.Context) error {
	// Who may use the socket may come to it, and to the program.
	if err := os.Chmod(g.host.Dir, 0o711); err != nil { //nolint:gosec // as /run/sandpool has it
		return err
	}
	program, err := os.ReadFile(filepath.Join(filepath.Dir(g.host.Init), "sandpool"))
	if err == nil {
		err = os.WriteFile(filepath.Join(g.host.Dir, "sandpool"), program, 0o755) //nolint:gosec // it is a program
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(g.secretFile(), []byte(g.secret+"\n"), 0o600); err != nil {
		return err
	}
	if g.world, err = outside.Start(); err != nil {
		return err
	}
	if err = g.world.Do(func() error { g.registry, err = openRegistry(); return err }); err != nil {
		return err
	}
	s := g.settings("main")
	g.root, g.attacker, g.victim = newUser(0, g.host.Dir, s.socket()), newUser(attackerUID, g.host.Dir, s.socket()), newUser(victimUID, g.host.Dir, s.socket())
	if s.more, err = g.mainTemplates(); err != nil {
		return err
	}
	if g.daemon, err = g.startDaemon(ctx, s); err != nil {
		return err
	}
	return g.awaitTemplates(ctx)
}

// secretFile is a file that only root may read.
func (g *ground) secretFile() string { return filepath.Join(g.host.Dir, "root-secret") }

// startDaemon starts a daemon and waits until it listens.
func (g *ground) startDaemon(ctx context.Context, s settings) (*testhost.Process, error) {
	if err := s.write(); err != nil {
		return nil, err
	}
	var p *testhost.Process
	err := g.world.Do(func() (err error) {
		p, err = g.host.Spawn("sandpoold-"+s.name, exec.Command(g.program, "--config", s.file())) //nolint:noctx // the host ends it
		return err
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return p, p.AwaitSocket(ctx, s.socket())
}

// awaitTemplates waits until each template is ready or refused.
func (g *ground) awaitTemplates(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*patience, errors.New("the templates were not ready in time"))
	defer cancel()
	var failure error
	err := testhost.Poll(ctx, 50*time.Millisecond, func() bool {
		var list wire.TemplateList
		if failure = g.root.get(ctx, "/v1/templates", &list); failure != nil {
			return true
		}
		for _, template := range list.Templates {
			if template.State == wire.TemplatePreparing {
				return false
			}
		}
		return true
	})
	return errors.Join(failure, err)
}

// template returns how far one is.
func (g *ground) template(ctx context.Context, name string) (wire.Template, error) {
	var list wire.TemplateList
	if err := g.root.get(ctx, "/v1/templates", &list); err != nil {
		return wire.Template{}, err
	}
	for _, template := range list.Templates {
		if template.Name == name {
			return template, nil
		}
	}
	return wire.Template{}, fmt.Errorf("there is no template %q", name)
}

const secretInside = "/root/secret"

// prepare gives the victim what an attack may take: a claim with a secret, and a checkpoint of it.
func (g *ground) prepare(ctx context.Context) error {
	if g.stopped {
		return errors.New("the daemon was stopped before")
	}
	// The daemon may count connections of the attack before, which are closed, for a moment.
	served, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the attacker is not served"))
	defer cancel()
	err := testhost.Poll(served, 20*time.Millisecond, func() bool {
		a, err := g.attacker.do(served, http.MethodGet, "/healthz", "")
		return err == nil && a.status == http.StatusOK
	})
	if err != nil {
		return err
	}
	if g.claim.ID == "" {
		if g.claim, err = g.victim.claim(ctx, `{"lifetime":"1h","request_id":"of-the-victim"}`); err != nil {
			return err
		}
		if code, out, err := g.victim.shell(ctx, g.claim.ID, "echo "+g.secret+" >"+secretInside); err != nil || code != 0 {
			return fmt.Errorf("write the victim's secret: %d, %s, %w", code, out, err)
		}
	}
	if g.saved.ID == "" {
		g.saved, err = g.victim.save(ctx, g.claim.ID, fmt.Sprintf(`{"comment":%q}`, g.secret))
	}
	return err
}

// settle looks whether the victim still has what it had, and takes away what the attacker has.
func (g *ground) settle(ctx context.Context, t *trial) error {
	if g.stopped {
		return nil
	}
	select {
	case <-g.daemon.Done():
		g.stopped = true
		t.through("the daemon ended")
		return nil
	default:
	}
	g.checkVictim(ctx, t)
	return g.tidy(ctx)
}

func (g *ground) checkVictim(ctx context.Context, t *trial) {
	if g.claim.ID != "" {
		code, out, err := g.victim.shell(ctx, g.claim.ID, "cat "+secretInside)
		if err != nil || code != 0 || strings.TrimSpace(out) != g.secret {
			t.through("the victim's sandbox is not what it was: exit code %d, %s, %v", code, clip(out), err)
			_, _ = g.root.do(ctx, http.MethodDelete, "/v1/claims/"+g.claim.ID, "") // if it is there
			g.claim = wire.Claim{}
		}
	}
	if g.saved.ID != "" {
		if a, err := g.victim.do(ctx, http.MethodGet, "/v1/checkpoints/"+g.saved.ID, ""); err != nil || a.status != http.StatusOK {
			t.through("the victim's checkpoint is not there any more: %s, %v", a, err)
			g.saved = wire.Checkpoint{}
		}
	}
}

// tidy ends all claims but the victim's, and deletes all checkpoints but its own.
func (g *ground) tidy(ctx context.Context) error {
	claims, err := g.root.claims(ctx)
	if err != nil {
		return err
	}
	for _, claim := range claims {
		if claim.ID != g.claim.ID {
			_, _ = g.root.do(ctx, http.MethodDelete, "/v1/claims/"+claim.ID, "") // it may end by itself
		}
	}
	saved, err := g.root.checkpoints(ctx)
	if err != nil {
		return err
	}
	for _, s := range saved {
		if s.ID != g.saved.ID {
			_, _ = g.root.do(ctx, http.MethodDelete, "/v1/checkpoints/"+s.ID, "") // it may be in use
		}
	}
	return nil
}

// close stops all and removes it.
func (g *ground) close() error {
	if g.registry != nil {
		g.registry.close()
	}
	err := g.host.Close()
	if g.world != nil {
		err = errors.Join(err, g.world.Close())
	}
	return err
}
