package networktest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sandpool/daemon/wire"
	"sandpool/runtime/egress"
	"sandpool/scripts/outside"
)

const secretTemplate = `
[network]
resolvers = ["` + outside.Resolver + `"]

[[secrets]]
name = "api"
hosts = ["` + outside.Page + `"]
header = "X-Api-Key"
value = "Key {secret}"
file = "%s"
ca_file = "%s"

[templates.default]
image = "file://%s"

[templates.default.network]
mode = "door"
allow = ["` + outside.Page + `:443"]
secrets = ["api"]

[pools.default]
target = 1
max = 3
`

// What is looked for: what has to be nowhere, and what the sandbox has, which shows that the search finds things. The patterns do not find themselves.
const (
	hidden, hiddenPattern = "s3cr3t-of-the-host", "s3cr3t-[o]f-the-host"
	known, knownPattern   = "kn0wn-to-the-sandbox", "kn0wn-[t]o-the-sandbox"
)

// TestSecretsStayOutside has a sandbox's requests be sent with a secret, and finds that nowhere but in its file.
func TestSecretsStayOutside(t *testing.T) {
	file := filepath.Join(host.Dir, "secret")
	if err := os.WriteFile(file, []byte(hidden+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(file) })
	d := start(t, fmt.Sprintf(secretTemplate, file, filepath.Join(host.Dir, authorities), host.Image))
	id := d.ClaimID(t, wire.ClaimRequest{})
	sent := func(secret string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte("Key "+secret))) }
	want := sent(hidden)
	ask := "wget -q -O - --header 'X-Api-Key: mine' http://" + outside.Page + "/digest/x-api-key"
	d.Wants(t, id, ask, want)
	d.Wants(t, id, "export http_proxy=http://"+egress.ProxyAddress+"; "+ask, want)
	d.Wants(t, id, "wget -O - http://"+outside.Page+"/redirect?to=https://"+outside.Page+"/digest/x-api-key", want)

	d.Wants(t, id, "printf "+known[:5]+" >/known; printf "+known[5:]+" >>/known; KNOWN=$(cat /known) sleep 10000 & echo $!", "")
	saved, err := d.Checkpoint(t.Context(), id, wire.CheckpointRequest{})
	if err != nil {
		t.Fatal(err)
	}
	const inside = "for d in /*; do case $d in /proc|/sys|/dev) ;; *) grep -rls PATTERN $d;; esac; done; grep -ls PATTERN /proc/[0-9]*/environ /proc/[0-9]*/cmdline"
	if found, _ := d.run(t, id, strings.ReplaceAll(inside, "PATTERN", "'"+hiddenPattern+"'")); found != "" {
		t.Errorf("in the sandbox it is in %s", found)
	}
	if found, _ := d.run(t, id, strings.ReplaceAll(inside, "PATTERN", "'"+knownPattern+"'")); !strings.Contains(found, "/known") || !strings.Contains(found, "/environ") {
		t.Errorf("the search in the sandbox finds %s only", found)
	}
	if found := holders(t, hidden); !slices.Equal(found, []string{file}) {
		t.Errorf("on the host it is in %q", found)
	}
	if found := holders(t, known); !slices.ContainsFunc(found, func(path string) bool { return strings.Contains(path, saved.ID) }) {
		t.Errorf("the search on the host finds %q only, and no checkpoint %s", found, saved.ID)
	}
	d.answersWithout(t, id)

	const next = "the-next-one"
	if err := errors.Join(os.WriteFile(file, []byte(next), 0o600), d.Process.Signal(syscall.SIGHUP)); err != nil {
		t.Fatal(err)
	}
	want = sent(next)
	d.Wants(t, id, "until "+ask+" | grep "+want+"; do sleep 0.1; done", want)
	restored := d.ClaimID(t, wire.ClaimRequest{Checkpoint: saved.ID})
	d.Wants(t, restored, ask, want)
	if _, err := d.SetNetwork(t.Context(), restored, wire.NetworkRules{Secrets: []string{}}); err != nil {
		t.Fatal(err)
	}
	if said, _ := d.run(t, restored, ask); strings.Contains(said, want) {
		t.Errorf("without the secret: %s", said)
	}

	if _, err := d.SetNetwork(t.Context(), id, wire.NetworkRules{MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if said, code := d.run(t, id, "wget -q -O /dev/null http://"+outside.Page+"/bytes/100000000"); code == 0 {
		t.Errorf("more bytes than there may be: %s", said)
	}
	why, err := d.WhyNetwork(t.Context(), id, outside.Page, 80)
	if err != nil || why.Allowed || why.Kind != egress.KindLimit {
		t.Errorf("why: %+v, %v", why, err)
	}
}

// holders are the files of the host's folder, with containerd's, that hold a text.
func holders(t *testing.T, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(host.Dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !entry.Type().IsRegular() {
			return nil // it has gone meanwhile
		}
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if bytes.Contains(data, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return found
}

// answersWithout looks for the secret in what the API says of the claim.
func (d *Daemon) answersWithout(t *testing.T, id string) {
	t.Helper()
	network, err := d.Network(t.Context(), id)
	why, errWhy := d.WhyNetwork(t.Context(), id, outside.Page, 80)
	claims, errClaims := d.List(t.Context())
	info, errInfo := d.Info(t.Context())
	var log []wire.NetworkEntry
	errLog := d.NetworkLog(t.Context(), id, 0, false, func(e wire.NetworkEntry) error {
		log = append(log, e)
		return nil
	})
	text, errText := json.Marshal([]any{network, why, claims, info, log})
	if err := errors.Join(err, errWhy, errClaims, errInfo, errLog, errText); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte(hidden)) || len(log) == 0 || !slices.Equal(log[0].Secrets, []string{"api"}) || len(network.Secrets) != 1 || network.UsedBytes == 0 {
		t.Errorf("the API says %s", text)
	}
}
