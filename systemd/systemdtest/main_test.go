package systemdtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
	"sandpool/scripts/testhost"
)

// patience is how long a test waits for what must come; a machine under load is slow.
const patience = 90 * time.Second

const (
	service  = "sandpoold.service"
	socket   = "/run/sandpool/sandpool.sock"
	unitDir  = "/usr/local/lib/systemd/system/"
	confFile = "/etc/sandpool/sandpoold.toml"
)

var host *testhost.Host

func TestMain(m *testing.M) {
	os.Exit(testhost.Main(m, testhost.Options{Namespace: "sandpool-systemd", Systemd: true}, &host))
}

// hostPath is where programs are looked for on the host.
const hostPath = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

// containerdUnit is what a distribution's package brings, as far as it matters here.
const containerdUnit = `[Unit]
Description=containerd
[Service]
Type=notify
ExecStart=/usr/local/bin/containerd --config /etc/containerd/config.toml
Environment=` + hostPath + `
Delegate=yes
KillMode=process
Restart=always
RestartSec=1
`

// containerdConfig leaves out what no sandbox needs and what no test host has.
const containerdConfig = `version = 3
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.differ.v1.erofs", "io.containerd.mount-handler.v1.erofs", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
`

// config has times for a slow machine and a pool of the given size.
const config = `version = 1
[runsc]
init = "/opt/sandpool-init"
canary_timeout = "90s"
[limits]
start_timeout = "90s"
pause_timeout = "90s"
kill_timeout = "90s"
claim_wait = "5m"
[reserves]
memory_mib = 0
disk_mib = 0
pids = 0
files = 0
[templates.default]
image = "file:///opt/busybox.tar"
[pools.default]
min = %[1]d
target = %[1]d
max = 48
`

// install puts containerd and the project on the host, once for all tests: as docs/install.md says, but for the start.
var install = sync.OnceValue(func() error {
	for from, to := range map[string]string{host.Init: "/opt/sandpool-init", host.Image: "/opt/busybox.tar"} {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := errors.Join(put(to, string(data)), os.Chmod(host.Inside(to), 0o755)); err != nil {
			return err
		}
	}
	if err := errors.Join(put("/etc/systemd/system/containerd.service", containerdUnit), put("/etc/containerd/config.toml", containerdConfig)); err != nil {
		return err
	}
	toInstall, _, err := docsCommands()
	if err != nil {
		return err
	}
	if err := onTheMachine(context.Background(), toInstall[0]); err != nil {
		return err
	}
	if out, err := paste(context.Background(), toInstall[1:3], ""); err != nil {
		return fmt.Errorf("%q: %w: %s", toInstall[1:3], err, out)
	}
	return configure(2)
})

// onTheMachine runs make, which needs Go and the checkout: both are on the machine. What it installs is the host's.
func onTheMachine(ctx context.Context, command string) error {
	cmd := exec.CommandContext(ctx, "sh", "-ec", command)
	cmd.Dir, cmd.Env = checkout, append(os.Environ(), "DESTDIR="+host.Inside("/"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}

// checkout is this project's folder. Its .build is seen on the host at the same path.
var checkout = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// docsCommands returns the lines of docs/install.md that install without a package, and those of a first claim.
func docsCommands() (install, claim []string, err error) {
	docs, err := os.ReadFile(filepath.Join(checkout, "docs", "install.md"))
	if err != nil {
		return nil, nil, err
	}
	lines := func(heading string) []string {
		_, section, _ := strings.Cut(string(docs), "\n## "+heading+"\n")
		_, code, _ := strings.Cut(section, "\n```sh\n")
		code, _, _ = strings.Cut(code, "\n```\n")
		return strings.Split(code, "\n")
	}
	install, claim = lines("Without a package"), lines("A first claim")
	if len(install) != 5 || !strings.HasPrefix(install[0], "make ") || len(claim) < 2 {
		return nil, nil, fmt.Errorf("docs/install.md has the commands %q and %q", install, claim)
	}
	return install, claim, nil
}

// paste runs lines in a shell on the host, up to the first that fails, and returns their output. $ID is id.
func paste(ctx context.Context, lines []string, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	script := "ID=" + id + "; cd " + checkout + "\n" + strings.Join(lines, "\n")
	out, err := host.In(ctx, "env", hostPath, "SYSTEMD_PAGER=", "bash", "-euc", script).CombinedOutput()
	return string(out), err
}

// put writes a file on the host, which anybody there may read.
func put(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(host.Inside(path)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(host.Inside(path), []byte(text), 0o644)
}

func configure(pool int) error {
	return put(confFile, fmt.Sprintf(config, pool))
}

// start has the service running, as its packages would: the socket, containerd and the daemon. Drop-ins are removed at the
// test's end, and the service is stopped.
func start(t *testing.T, dropIn string) *client.Client {
	t.Helper()
	if err := install(); err != nil {
		t.Fatal(err)
	}
	extra := "/etc/systemd/system/" + service + ".d/test.conf"
	if err := put(extra, dropIn); err != nil {
		t.Fatal(err)
	}
	systemctl(t, "daemon-reload")
	t.Cleanup(func() {
		systemctl(t, "stop", "sandpoold.socket", service)
		_, _ = try(t, "reset-failed", service, "sandpoold.socket")
		if err := os.Remove(host.Inside(extra)); err != nil {
			t.Error(err)
		}
	})
	systemctl(t, "start", "sandpoold.socket", service)
	return newClient(t)
}

func newClient(t *testing.T) *client.Client {
	t.Helper()
	c := &client.Client{Socket: host.Inside(socket)}
	t.Cleanup(c.Close)
	return c
}

// try runs systemctl and returns its output.
func try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	out, err := host.Systemctl(ctx, args...).CombinedOutput()
	return string(out), err
}

func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := try(t, args...)
	if err != nil {
		t.Fatalf("systemctl %s: %v: %s\n%s", strings.Join(args, " "), err, out, journal(t, "-n", "40"))
	}
	return out
}

// property is what systemd says of the service.
func property(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(systemctl(t, "show", "--property="+name, "--value", service))
}

// journal is what journalctl finds.
func journal(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	cmd := host.In(ctx, "journalctl", append([]string{"--no-pager", "--quiet", "--output=cat"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && stderr.Len() > 0 {
		t.Errorf("journalctl %q: %v: %s", args, err, stderr.String())
	}
	return string(out)
}

// await asks until done is true.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := testhost.Poll(ctx, 50*time.Millisecond, done); err != nil {
		t.Fatalf("waited in vain until %s; the journal ends with\n%s", what, journal(t, "-n", "40"))
	}
}

func claim(t *testing.T, c *client.Client) wire.Claim {
	t.Helper()
	got, err := c.Claim(t.Context(), wire.ClaimRequest{})
	if err != nil {
		t.Fatalf("claim: %v\n%s", err, journal(t, "-n", "40"))
	}
	return got
}

// checkAlive checks that a claim's sandbox, and no other, runs commands.
func checkAlive(t *testing.T, c *client.Client, claim wire.Claim) {
	t.Helper()
	var out bytes.Buffer
	code, err := c.Exec(t.Context(), claim.ID, wire.ExecRequest{Args: []string{"hostname"}}, client.Stdio{Out: &out, Err: &out})
	if err != nil || code != 0 || out.String() != claim.Sandbox+"\n" {
		t.Errorf("hostname in claim %s of %s: exit code %d, %q, %v", claim.ID, claim.Sandbox, code, out.String(), err)
	}
}

func release(t *testing.T, c *client.Client, claim wire.Claim) {
	t.Helper()
	if err := c.Release(t.Context(), claim.ID); err != nil {
		t.Errorf("release %s: %v", claim.ID, err)
	}
}
