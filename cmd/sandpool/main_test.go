package main

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"sandpool/daemon/wire"
	"sandpool/lifetime"
)

func TestClaim(t *testing.T) {
	f := newFake(t)
	code, out, errOut := f.sandpool("claim")
	if code != 0 || out != "c1\n" {
		t.Errorf("exit %d, stdout %q", code, out)
	}
	if !strings.HasPrefix(errOut, "c1: sandbox sp-1 from local:default (pool) in ") || !strings.HasSuffix(errOut, "s, ends in 1h\n") || strings.Count(errOut, "\n") != 1 {
		t.Errorf("stderr %q", errOut)
	}
	if !reflect.DeepEqual(f.last, wire.ClaimRequest{}) {
		t.Errorf("asked for %+v, want nothing in particular", f.last)
	}
	code, out, errOut = f.sandpool("claim", "--json")
	var claim wire.Claim
	if err := json.Unmarshal([]byte(out), &claim); code != 0 || err != nil || claim.ID != "c2" || errOut != "" {
		t.Errorf("--json: exit %d, %v, stdout %s, stderr %q", code, err, out, errOut)
	}
}

func TestClaimFlags(t *testing.T) {
	f := newFake(t)
	if code, _, errOut := f.sandpool("claim", "--template", "go", "--request-id", "r", "--wait", "0", "--lifetime", "7d", "--cold", "--fallback"); code != 0 {
		t.Fatal(errOut)
	}
	now := lifetime.Duration(0)
	want := wire.ClaimRequest{Template: "go", RequestID: "r", Start: wire.StartCold, Fallback: true, Wait: &now, Lifetime: new(lifetime.Duration(7 * 24 * time.Hour))}
	if !reflect.DeepEqual(f.last, want) {
		t.Errorf("asked for %+v, want %+v", f.last, want)
	}
	if code, _, errOut := f.sandpool("claim", "--checkpoint", "ck-1", "--type", "cicd"); code != 0 {
		t.Fatal(errOut)
	}
	if want := (wire.ClaimRequest{Checkpoint: "ck-1", Type: "cicd"}); !reflect.DeepEqual(f.last, want) {
		t.Errorf("asked for %+v, want %+v", f.last, want)
	}
}

func TestRelease(t *testing.T) {
	f := newFake(t)
	a, b := f.claimOne(), f.claimOne()
	code, out, errOut := f.sandpool("release", a, "x", b)
	if code != exitNotFound || out != a+"\n"+b+"\n" || errOut != "sandpool: release x: no such claim\n" || len(f.claims) != 0 {
		t.Errorf("exit %d, stdout %q, stderr %q, %d claims left", code, out, errOut, len(f.claims))
	}
	if code, out, _ := f.sandpool("--json", "release", f.claimOne()); code != 0 || strings.Join(strings.Fields(out), "") != `{"released":["c3"]}` {
		t.Errorf("--json: exit %d, %s", code, out)
	}
}

// fields is a table without its alignment.
func fields(table string) string {
	lines := strings.Split(strings.TrimSpace(table), "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return strings.Join(lines, "\n")
}

const poolsHead = "POOL READY RUNNING STARTING IN USE WAITING TOTAL MIN TARGET WANTED MAX STATE"

func TestTables(t *testing.T) {
	f := newFake(t)
	f.claimOne()
	dead := f.claims[f.claimOne()]
	dead.State, dead.Reason = wire.ClaimDead, "exited"
	f.claims[dead.ID] = dead
	const (
		head = "ID TEMPLATE STATE SOURCE AGE ENDS IN OWNER"
		one  = "\nc1 default running pool 1h30m 1h 0"
		two  = "\nc2 default dead pool 1h30m 1h 0 exited"
	)
	tests := map[string]string{
		"ls":    head + " REASON" + one + " –" + two,
		"ls c1": head + one,
		"ls c2": head + " REASON" + two,
		"pools": poolsHead + "\nlocal:default 0 0 0 0 0 2 1 2 2 4 ok",
		"info": "version v1\npid 7\nup for 2d2h\nregion local\ncontainerd v2.4.2\nnamespace sandpool\nrunsc release-1\nshim io.containerd.x.v1\nplatform systrap\npromised memory 4 GiB of 23.4 GiB\npromised disk 20 GiB of 244.1 GiB\n" +
			"trial of kvm refused: too slow\ntrial of systrap ok\nwarning old key",
	}
	for command, want := range tests {
		code, out, errOut := f.sandpool(strings.Fields(command)...)
		if got := fields(out); code != 0 || got != want {
			t.Errorf("%s: exit %d %s\n%s\nwant\n%s", command, code, errOut, got, want)
		}
	}
}

func TestPoolChanges(t *testing.T) {
	f := newFake(t)
	for command, want := range map[string]string{
		"pools set default --target 3":                                       `PUT /v1/pools/default {"target":3}`,
		"pools set local:default --min 0 --hold --hot=1":                     `PUT /v1/pools/local:default {"min":0,"hot":1,"hold":true}`,
		"pools set default --max 9 --adaptive --hold=false":                  `PUT /v1/pools/default {"max":9,"adaptive":true,"hold":false}`,
		"pools set default --scale-up-threshold 80 --scale-down-threshold 0": `PUT /v1/pools/default {"scale_up_threshold":80,"scale_down_threshold":0}`,
		"pools drain default":                                                `POST /v1/pools/default/drain `,
	} {
		code, out, errOut := f.sandpool(strings.Fields(command)...)
		if f.changed != want || code != 0 {
			t.Errorf("%s: exit %d %s, asked for %s, want %s", command, code, errOut, f.changed, want)
		}
		if got := fields(out); got != poolsHead+" REASON\nlocal:default 2 0 0 0 0 2 1 2 2 4 blocked, on hold memory: little left" {
			t.Errorf("%s: %s", command, got)
		}
	}
}

func TestListsInJSON(t *testing.T) {
	f := newFake(t)
	f.claimOne()
	for command, keys := range map[string][]string{"ls": {"claims"}, "ls c1": {"claims"}, "pools": {"pools"}, "extend c1": {"id", "extended"}, "checkpoint c1": {"id", "trigger"}, "checkpoints": {"checkpoints"}, "info": {"version", "canaries"}, "version": {"version", "go", "platform"}} {
		code, out, errOut := f.sandpool(append([]string{"--json"}, strings.Fields(command)...)...)
		var got map[string]any
		if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
			t.Errorf("%s: exit %d, %v, %s", command, code, err, errOut)
		}
		for _, key := range keys {
			if got[key] == nil {
				t.Errorf("%s: no %q in %s", command, key, out)
			}
		}
	}
}

func TestExitCodes(t *testing.T) {
	f := newFake(t)
	id := f.claimOne()
	missing := filepath.Join(t.TempDir(), "missing")
	tests := []struct {
		args string
		code int
		says string
	}{
		{"", exitOK, ""},
		{"--help", exitOK, ""},
		{"version", exitOK, ""},
		{"nonsense", exitUsage, `unknown command "nonsense"`},
		{"claim --nonsense", exitUsage, "unknown flag: --nonsense"},
		{"claim extra", exitUsage, `unknown command "extra"`},
		{"run", exitOwnUsage, "which command?"},
		{"run --template unknown true", exitOwnNotFound, "no template unknown"},
		{"run --template empty true", exitOwnPoolEmpty, "none left"},
		{"run --template quota true", exitOwnPoolEmpty, "too many"},
		{"run -d -t true", exitOwnUsage, "none of the others can be"},
		{"attach x 7", exitOwnNotFound, "no such claim"},
		{"wait x 7", exitNotFound, "no such claim"},
		{"ls --state none", exitUsage, "want one of running"},
		{"ls -o csv", exitUsage, "want wide, json, yaml or name"},
		{"ls --label a=b x", exitUsage, "do not go with ids"},
		{"release --all x", exitUsage, "--all does not go with ids"},
		{"release --state dead", exitUsage, "go with --all"},
		{"events -n -1", exitUsage, "want at least 1"},
		{"claim --wait soon", exitUsage, `duration "soon"`},
		{"release", exitUsage, "which claim?"},
		{"bench --warm 0 --cold 0", exitUsage, "want at least one claim"},
		{"top --interval 99ms", exitUsage, "want an --interval of at least 100ms"},
		{"top extra", exitUsage, `unknown command "extra"`},
		{"--socket " + missing + " top", exitUnreachable, "no sandpoold at " + missing},
		{"claim --template unknown", exitNotFound, "no template unknown"},
		{"ls x", exitNotFound, "get x: no such claim"},
		{"claim --template empty", exitPoolEmpty, "none left"},
		{"claim --template quota", exitQuota, "too many"},
		{"pools set unknown --max 3", exitNotFound, "no such pool"},
		{"pools set default --max many", exitUsage, "want a number"},
		{"pools set", exitUsage, "which pool?"},
		{"pools drain unknown", exitNotFound, "no such pool"},
		{"--socket /" + strings.Repeat("x", 199) + " ls", exitUnreachable, "the path of the socket has 200 bytes, of at most 107"},
		{"--socket " + missing + " ls", exitUnreachable, "no sandpoold at " + missing},
		{"--socket " + missing + " bench", exitUnreachable, "no sandpoold at " + missing},
		{"exec " + id + " -- true", exitOK, ""},
		{"exec x -- true", exitOwnNotFound, "no such claim"},
		{"exec " + id, exitOwnUsage, "which command?"},
		{"exec", exitOwnUsage, "which claim?"},
		{"exec -t " + id + " -- sh", exitOwnUsage, "needs a terminal"},
		{"bench exec --rounds 0", exitUsage, "at least 1"},
		{"exec --ulimit nofile " + id + " -- sh", exitOwnUsage, `--ulimit "nofile": want NAME=SOFT[:HARD]`},
		{"exec -d -t --log x " + id + " -- sh", exitOwnUsage, "--log does not go with --tty"},
		{"exec --log x " + id + " -- sh", exitOwnUsage, "--log is for commands that run with --detach"},
		{"exec -n -i " + id + " -t -- sh", exitOwnUsage, "none of the others can be"},
		{"exec -d " + id + " -- no-such", exitNoCommand, "no such program"},
		{"claim --label x", exitUsage, "want NAME=VALUE"},
		{"claim --secret T=x", exitUsage, "values on a command line are no secrets"},
		{"kill " + id + " x", exitUsage, "want a number"},
		{"kill -s NONE " + id + " 7", exitUsage, "want a name such as TERM"},
		{"logs " + id + " 0", exitUsage, "want a number"},
		{"egress show x", exitNotFound, "no such claim"},
		{"egress why " + id + " a.test:0", exitUsage, "want NAME or NAME:PORT"},
		{"egress why " + id, exitUsage, "which name?"},
		{"extend x", exitNotFound, "no such claim"},
		{"extend", exitUsage, "which claim?"},
		{"checkpoint x", exitNotFound, "no such claim"},
		{"checkpoints rm x", exitNotFound, "delete x: no such checkpoint"},
		{"checkpoints rm", exitUsage, "which checkpoint?"},
		{"fork x", exitNotFound, "no such claim"},
		{"fork --count many " + id, exitUsage, "many"},
		{"--socket " + missing + " exec x -- true", exitOwnUnreachable, "no sandpoold at " + missing},
	}
	for _, test := range tests {
		code, _, errOut := f.sandpool(strings.Fields(test.args)...)
		if code != test.code || !strings.Contains(errOut, test.says) || (code == 0) != (test.says == "") {
			t.Errorf("%s: exit %d, stderr %q; want %d, %q", test.args, code, errOut, test.code, test.says)
		}
	}
}

func TestSocketFromEnvironment(t *testing.T) {
	f := newFake(t)
	t.Setenv(socketEnv, f.socket)
	var out, errOut strings.Builder
	if code := run(t.Context(), []string{"pools"}, strings.NewReader(""), &out, &errOut); code != 0 {
		t.Errorf("exit %d: %s", code, &errOut)
	}
}

func TestCompletion(t *testing.T) {
	f := newFake(t)
	f.claimOne()
	f.claimOne()
	f.saved = []wire.Checkpoint{{ID: "ck1", Template: "default", Trigger: "expiry"}, {ID: "ck2", Template: "default", Trigger: "request", Comment: "mine"}}
	tests := map[string]string{
		"release c1 ":         "c2\tdefault, running\n:4\n",
		"exec ":               "c1\tdefault, running\nc2\tdefault, running\n:4\n",
		"exec c1 ":            ":4\n",
		"claim --template ":   "default\n:4\n",
		"pools set ":          "default\n:4\n",
		"extend ":             "c1\tdefault, running\nc2\tdefault, running\n:4\n",
		"checkpoints rm ck1 ": "ck2\tdefault, mine\n:4\n",
		"claim --checkpoint ": "ck1\tdefault, expiry\nck2\tdefault, mine\n:4\n",
		"egress why c1 ":      ":4\n",
		"egress set ":         "c1\tdefault, running\nc2\tdefault, running\n:4\n",
		"claim --preset ":     "package-registries\n:4\n",
		"claim --type ":       "development\npreview\ncicd\n:4\n",
		"fork c1 --type ":     "development\npreview\ncicd\n:4\n",
		"pools drain x ":      ":4\n",
		"ls --state ":         "running\npaused\nsuspended\ndead\nwarned\ngrace\n:4\n",
		"ls -o ":              "wide\njson\nyaml\nname\n:4\n",
		"ls --template ":      "default\n:4\n",
		"run --template ":     "default\n:4\n",
		"wait c1 ":            "17\tS, sleep 9\n:4\n",
		"inspect c1 ":         "c2\tdefault, running\n:4\n",
		"rm c1 ":              "c2\tdefault, running\n:4\n",
	}
	for typed, want := range tests {
		args := append([]string{"__complete", "--socket", f.socket}, strings.Split(typed, " ")...)
		if code, out, _ := f.sandpool(args...); code != 0 || out != want {
			t.Errorf("%q: exit %d, %q, want %q", typed, code, out, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, _ := f.sandpool("completion", shell); code != 0 || !strings.Contains(out, "sandpool") {
			t.Errorf("%s: exit %d", shell, code)
		}
	}
}

// TestHelp has a group for each command, and an example in each that can be run.
func TestHelp(t *testing.T) {
	a := &app{}
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		if cmd.Runnable() && !cmd.HasSubCommands() && cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	root := a.rootCommand()
	for _, cmd := range root.Commands() {
		if cmd.GroupID == "" && cmd.Runnable() {
			t.Errorf("%s is in no group", cmd.Name())
		}
		look(cmd)
	}
}

func TestVersionFlag(t *testing.T) {
	f := newFake(t)
	_, flagged, _ := f.sandpool("--version")
	if _, told, _ := f.sandpool("version"); flagged != told || told == "" {
		t.Errorf("--version prints %q, version %q", flagged, told)
	}
}
