package daemontest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool/transfer"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

func here(path string) transfer.Place { return transfer.Place{Path: path} }

// oddFolder makes files of all kinds that are copied.
func oddFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "odd")
	script := `mkdir -p "$0/deep/er" && cd "$0" && echo plain >plain && ln plain other && ln -s ../../nowhere link && mkfifo pipe && : >empty
printf x >"$(printf 'caf\351\n.')" && printf y >deep/er/-rf && chmod 0750 deep && chmod 04711 plain && truncate -s 20M holes && printf data | dd of=holes bs=1 seek=9000000 conv=notrunc status=none
touch -d @1700000000.123456789 plain deep/er/-rf && touch -d @1600000000 deep`
	onHost(t, script, dir)
	return dir
}

// describe lists what is below a folder: modes, sizes, times, links and content.
func describe(t *testing.T, dir string) string {
	t.Helper()
	script := `cd "$0" && find . ! -name . -printf '%P|%M|%n|%T@|%l\n' | LC_ALL=C sort && find . -type f -exec sha256sum {} + | LC_ALL=C sort`
	return onHost(t, script, dir)
}

// onHost runs a script on the host, which gets a folder as $0.
func onHost(t *testing.T, script, dir string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", script, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestCopy copies trees and large files into sandboxes and out of them, also while the daemon is started again.
func TestCopy(t *testing.T) {
	d := start(t, testConfig(t, 2, 2))
	one, two := claim(t, d.Client, wire.ClaimRequest{}), claim(t, d.Client, wire.ClaimRequest{})
	in := func(c wire.Claim, path string) transfer.Place { return transfer.Place{Claim: c.ID, Path: path} }
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	copier := func() *transfer.Copier { return &transfer.Copier{Daemon: d.Client, Patient: patience} }
	copies := func(c *transfer.Copier, from, to transfer.Place) {
		t.Helper()
		if err := c.Copy(ctx, from, to); err != nil {
			t.Errorf("copy %v to %v: %v", from, to, err)
		}
	}

	t.Run("a tree there and back", func(t *testing.T) {
		odd, back := oddFolder(t), t.TempDir()
		all := copier()
		all.Owners = true
		copies(all, here(odd), in(one, "/srv"))               // which is not there: its new name
		copies(all, in(one, "/srv"), in(two, "/tmp"))         // which is: /tmp/srv
		copies(all, in(two, "/tmp/srv/."), here(back+"/odd")) // as is what was made of the first
		if got, want := describe(t, back+"/odd"), describe(t, odd); got != want {
			t.Errorf("what came back is\n%swant\n%s", got, want)
		}
		var st unix.Stat_t
		if err := unix.Stat(back+"/odd/holes", &st); err != nil || st.Blocks*512 > 2<<20 {
			t.Errorf("the file with holes has %d blocks, %v", st.Blocks, err)
		}
		var stream bytes.Buffer
		out := copier()
		out.Out = &stream
		copies(out, in(two, "/tmp/srv"), here("-"))
		shell(t, d.Client, two.ID, "mkdir /again")
		again := copier()
		again.In = &stream
		copies(again, here("-"), in(two, "/again"))
		if got := shell(t, d.Client, two.ID, `cat /again/srv/plain; ls -l /again/srv | grep -c ' plain'`); got != "plain\n1" {
			t.Errorf("from the tar stream: %q", got)
		}
		copies(copier(), here(odd+"/plain"), in(one, "/srv/deep/"))
		copies(copier(), in(one, "/srv/deep/plain"), here(back+"/plain"))
		if info, err := os.Stat(back + "/plain"); err != nil || info.Size() != 6 || info.ModTime().UnixNano() != 1_700_000_000_123_456_789 || info.Mode() != 0o711 {
			t.Errorf("a plain file: %+v, %v", info, err)
		}
	})
	t.Run("all of a sandbox", func(t *testing.T) {
		all := t.TempDir() + "/all"
		copies(copier(), in(one, "/"), here(all))
		if got := onHost(t, `cd "$0" && ls proc sys && test -s bin/busybox && test -s etc/passwd && echo whole`, all); got != "proc:\n\nsys:\nwhole\n" {
			t.Errorf("what came is not what was meant: %q", got)
		}
	})
	t.Run("links in the way", func(t *testing.T) {
		shell(t, d.Client, one.ID, `mkdir -p /way/x; ln -s /etc /way/x/out; ln -s / /out; echo mine >/mine`)
		dir := t.TempDir()
		if err := errors.Join(os.MkdirAll(dir+"/x/out", 0o755), os.WriteFile(dir+"/x/out/passwd", nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		err := copier().Copy(ctx, here(dir+"/x"), in(one, "/way"))
		wantError(t, err, "conflict")
		target := t.TempDir()
		if err := errors.Join(os.Mkdir(target+"/x", 0o755), os.Symlink(dir, target+"/x/deep")); err != nil {
			t.Fatal(err)
		}
		shell(t, d.Client, one.ID, `rm -r /way/x; mkdir -p /way/x/deep; echo evil >/way/x/deep/evil`)
		if err := copier().Copy(ctx, in(one, "/way/x"), here(target)); err == nil {
			t.Error("it went through a link of the host")
		}
		if _, err := os.Lstat(dir + "/evil"); err == nil {
			t.Error("it led out of the target")
		}
	})
	t.Run("a folder that is swapped for a link", func(t *testing.T) { swappedFolder(t, ctx, d, one, copier()) })
	t.Run("what cannot be", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		shell(t, d.Client, one.ID, "mkdir -p /folder/file")
		for want, c := range map[string][2]transfer.Place{
			dir + `/none": file does not`:   {here(dir + "/none"), in(one, "/x")},
			`copy "/none/x": file does not`: {in(one, "/none/x"), here(dir)},
			"no such folder":                {here(dir + "/file"), in(one, "/none/")},
			"want CLAIM:PATH":               {here(dir), here(dir)},
			"a path is missing":             {here(dir), in(one, "")},
			"and a folder is to be copied":  {here(dir), in(one, "/mine")},
			"one of both is a folder":       {here(dir + "/file"), in(one, "/folder")},
			"does not exist or has ended":   {here(dir), transfer.Place{Claim: "c-aaaaaaaaaaaaaaaa", Path: "/x"}},
		} {
			err := copier().Copy(ctx, c[0], c[1])
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one that says %q", err, want)
			}
		}
	})
	t.Run("another user than root", func(t *testing.T) {
		shell(t, d.Client, one.ID, "echo secret >/root-only; chmod 600 /root-only; mkdir -p /shared; chmod 777 /shared; echo ours:x:77:ours,odd >>/etc/group; echo odd:x:1234:1235::/:/bin/sh >>/etc/passwd; mkdir /group; chgrp 77 /group; chmod 770 /group")
		for user, gid := range map[string]uint32{"odd": 1235, "1234": 1235, "1234:77": 77, "odd:ours": 77, "4321": 0} {
			f := d.Files(one.ID)
			f.User = user
			written, err := f.Write(ctx, "/shared/"+user, strings.NewReader("x"), client.WriteOptions{})
			if err != nil || written.GID != gid || written.UID == 0 {
				t.Errorf("as %s: %+v, %v; want group %d", user, written, err, gid)
			}
			_, _, err = f.Read(ctx, "/root-only", 0, "")
			wantError(t, err, "permission_denied")
			_, err = f.Chown(ctx, "/shared/"+user, "0")
			wantError(t, err, "permission_denied")
			_, err = f.Write(ctx, "/root-only", strings.NewReader("x"), client.WriteOptions{InPlace: true})
			wantError(t, err, "permission_denied")
			wantError(t, f.Remove(ctx, "/root-only", false), "permission_denied")
			if _, err = f.Mkdir(ctx, "/group/"+user, 0o700, false); (err == nil) != (user != "4321") {
				t.Errorf("as %s in the group's folder: %v", user, err)
			}
		}
	})
	t.Run("a claim that ends meanwhile", func(t *testing.T) {
		came, released := 0, make(chan error, 1)
		forever := readerFunc(func(b []byte) (int, error) {
			if before := came; before < 4<<20 && before+len(b) >= 4<<20 {
				go func() { released <- d.Release(ctx, two.ID) }()
			}
			came += len(b)
			return len(b), nil
		})
		for _, code := range []string{"conflict", "not_found"} {
			_, err := d.Files(two.ID).Write(ctx, "/x", forever, client.WriteOptions{})
			wantError(t, err, code)
		}
		if err := <-released; err != nil {
			t.Error(err)
		}
	})
}

// TestLargeCopy kills the real daemon in the middle of a large file that comes in, and of the same on its way out: the copies go on where they were.
// The memory of the daemon is that of one which copies nothing.
func TestLargeCopy(t *testing.T) {
	const size, most = 256 << 20, 32 << 20 // bytes
	cfg := testConfig(t, 1, 1)
	program, file := realDaemon(t), writeConfig(t, cfg)
	p := spawn(t, program, file, cfg.Daemon.Socket)
	c := &client.Client{Socket: cfg.Daemon.Socket}
	defer c.Close()
	claimed := claim(t, c, wire.ClaimRequest{})
	dir := t.TempDir()
	sum := writeRandom(t, dir+"/big", size)
	for _, way := range [][2]transfer.Place{{here(dir + "/big"), {Claim: claimed.ID, Path: "/big"}}, {{Claim: claimed.ID, Path: "/big"}, here(dir + "/back")}} {
		cut, cancel := context.WithCancel(t.Context())
		var breaks [][2]int // per cent, before a break and after
		last := 0
		bar := transfer.NewBar(writerFunc(func(b []byte) (int, error) {
			before := last
			if match := percentage.FindSubmatch(b); match != nil {
				last, _ = strconv.Atoi(string(match[1]))
			}
			if n := len(breaks); n > 0 && breaks[n-1][1] < 0 {
				breaks[n-1][1] = last
			} else if n == 0 && last >= 25 {
				breaks = append(breaks, [2]int{before, -1})
				p.Kill()
				p = spawn(t, program, file, cfg.Daemon.Socket)
			} else if n == 1 && last >= 60 {
				breaks = append(breaks, [2]int{before, -1})
				cancel()
			}
			return len(b), nil
		}))
		bar.Every = 0
		copier := transfer.Copier{Daemon: c, Bar: bar, Patient: patience}
		if err := copier.Copy(cut, way[0], way[1]); err == nil {
			t.Errorf("copy %v: it did not end with its command", way)
		}
		if err := copier.Copy(t.Context(), way[0], way[1]); err != nil { // the same command once more
			t.Errorf("copy %v: %v", way, err)
		}
		for _, at := range breaks {
			if at[1] < at[0]-5 || len(breaks) != 2 {
				t.Errorf("copy %v: before and after its breaks it was at %v per cent", way, breaks)
			}
		}
		cancel()
	}
	if got := shell(t, c, claimed.ID, "sha256sum /big; ls -a / /tmp"); !strings.HasPrefix(got, sum) || strings.Contains(got, "sandpool-") {
		t.Errorf("in the sandbox is %q, want the sum %s", got, sum)
	}
	if got := sumOf(t, dir+"/back"); got != sum {
		t.Errorf("what came back has the sum %s, want %s", got, sum)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 2 {
		t.Errorf("there are %v, %v", names, err)
	}
	before := peakMemory(t, p.Pid())
	copier := transfer.Copier{Daemon: c, Patient: patience}
	err := errors.Join(copier.Copy(t.Context(), here(dir+"/big"), transfer.Place{Claim: claimed.ID, Path: "/big"}), copier.Copy(t.Context(), transfer.Place{Claim: claimed.ID, Path: "/big"}, here(dir+"/back")))
	if grown := peakMemory(t, p.Pid()) - before; err != nil || grown > most {
		t.Errorf("%v; the daemon's memory grew by %d bytes", err, grown)
	}
	if err := c.Release(t.Context(), claimed.ID); err != nil {
		t.Error(err)
	}
	if err := p.Stop(patience); err != nil {
		t.Error(err)
	}
	checkNothingLeft(t)
}

var percentage = regexp.MustCompile(`(\d+)%`)

// peakMemory is the most that a process has had in memory, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// swappedFolder has a program in the sandbox swap a folder for a link, again and again, while it is copied, listed and removed.
func swappedFolder(t *testing.T, ctx context.Context, d *running, c wire.Claim, copier *transfer.Copier) {
	shell(t, d.Client, c.ID, `mkdir -p /swap/real /victim; touch /victim/v /swap/real/r; cd /swap; while [ ! -e /stop ]; do mv real name; mv name real; ln -s /victim name; rm name; done >/dev/null 2>&1 & :`)
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/in/name", 0o755), os.WriteFile(dir+"/in/name/led-here", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		_ = copier.Copy(ctx, here(dir+"/in/."), transfer.Place{Claim: c.ID, Path: "/swap"}) // a link may be in the way
		to := filepath.Join(dir, fmt.Sprint(i))
		if err := copier.Copy(ctx, transfer.Place{Claim: c.ID, Path: "/swap"}, here(to)); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		if _, err := os.Lstat(to + "/name/v"); err == nil {
			t.Error("what the link leads to was packed")
		}
		files := d.Files(c.ID)
		err := files.List(ctx, "/swap", 0, func(f wire.File) error {
			if strings.HasSuffix(f.Path, "/v") {
				t.Error("what the link leads to was listed")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		_ = files.Remove(ctx, "/swap/name", true) // there may be none at the moment
	}
	if got := shell(t, d.Client, c.ID, "touch /stop; ls /victim"); got != "v" {
		t.Errorf("in what the link leads to there is %q", got)
	}
}

// writeRandom makes a file that cannot be packed any smaller, and returns its sum.
func writeRandom(t *testing.T, path string, size int64) string {
	t.Helper()
	random, err := os.Open("/dev/urandom")
	if err != nil {
		t.Fatal(err)
	}
	defer random.Close() //nolint:errcheck // it was only read
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(file, sum), random, size); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
