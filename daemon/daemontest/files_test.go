package daemontest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sandpool/configs"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// startWithFiles returns the files of a claim of a sandbox whose disk is full after 64 MiB, and whose own user is 1000.
func startWithFiles(t *testing.T) (*running, wire.Claim, client.Files) {
	t.Helper()
	cfg := testConfig(t, 1, 2)
	cfg.Templates["default"] = configs.Template{Image: configs.FileScheme + host.Image, User: "1000", Cwd: "/home/sandbox", DiskMiB: 64, MemoryMiB: 512}
	d := start(t, cfg)
	c := claim(t, d.Client, wire.ClaimRequest{})
	return d, c, d.Files(c.ID)
}

func readAll(t *testing.T, f client.Files, path string) string {
	t.Helper()
	content, _, err := f.Read(t.Context(), path, 0, "")
	if err != nil {
		t.Errorf("read %q: %v", path, err)
		return ""
	}
	defer content.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(content)
	if err != nil {
		t.Errorf("read %q: %v", path, err)
	}
	return string(data)
}

// TestFiles has one sandbox's files written, read, listed and changed, by its own user and by root.
func TestFiles(t *testing.T) {
	d, c, own := startWithFiles(t)
	root := own
	root.User = "root"
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	code, out, err := output(ctx, d.Client, c.ID, "", client.InitPath, "file", "stat", `path="/"`)
	if err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}

	t.Run("odd names", func(t *testing.T) {
		for _, name := range []string{"plain", "caf\xe9", "new\nline", "-rf", " ", "ü", strings.Repeat("n", 255)} {
			written, err := own.Write(ctx, name, strings.NewReader("content of "+name), client.WriteOptions{})
			if err != nil || written.Name() != name || written.UID != 1000 || written.Mode != "0644" {
				t.Errorf("write %q: %+v, %v", name, written, err)
				continue
			}
			if got := readAll(t, own, "/home/sandbox/"+name); got != "content of "+name {
				t.Errorf("%q has %q", name, got)
			}
			if moved, err := own.Move(ctx, name, "moved"); err != nil || moved.Name() != "moved" {
				t.Errorf("move %q: %+v, %v", name, moved, err)
			}
			if err := own.Remove(ctx, "moved", false); err != nil {
				t.Errorf("remove %q: %v", name, err)
			}
		}
	})
	t.Run("what cannot be", func(t *testing.T) {
		private := uint32(0o600)
		if _, err := root.Write(ctx, "/secret", strings.NewReader("s"), client.WriteOptions{Mode: &private}); err != nil {
			t.Fatal(err)
		}
		shell(t, d.Client, c.ID, `mkdir -p dir/full; mkfifo pipe; ln -s loop loop; ln -s ../../../../../etc/passwd out; touch dir/full/x`)
		for what, do := range map[string]func() error{
			"file_not_found missing": func() error { _, err := own.Stat(ctx, "missing", false); return err },
			"file_not_found no folder": func() error {
				_, err := own.Write(ctx, "missing/x", strings.NewReader(""), client.WriteOptions{})
				return err
			},
			"permission_denied other's folder": func() error {
				_, err := own.Write(ctx, "/etc/x", strings.NewReader(""), client.WriteOptions{})
				return err
			},
			"permission_denied other's file": func() error {
				_, _, err := own.Read(ctx, "/secret", 0, "")
				return err
			},
			"permission_denied other's owner": func() error { _, err := own.Chown(ctx, "pipe", "root"); return err },
			"conflict there already":          func() error { _, err := own.Mkdir(ctx, "dir", 0o755, false); return err },
			"conflict a folder to read":       func() error { _, _, err := own.Read(ctx, "dir", 0, ""); return err },
			"conflict a folder to write": func() error {
				_, err := own.Write(ctx, "dir", strings.NewReader(""), client.WriteOptions{})
				return err
			},
			"conflict a file as a folder": func() error { _, err := own.Stat(ctx, "out/x", false); return err },
			"conflict a full folder":      func() error { return own.Remove(ctx, "dir/full", false) },
			"invalid_argument a pipe":     func() error { _, _, err := own.Read(ctx, "pipe", 0, ""); return err },
			"invalid_argument a pipe to write": func() error {
				_, err := own.Write(ctx, "pipe", strings.NewReader(""), client.WriteOptions{InPlace: true})
				return err
			},
			"invalid_argument a loop":        func() error { _, err := own.Stat(ctx, "loop", true); return err },
			"invalid_argument too long":      func() error { _, err := own.Stat(ctx, strings.Repeat("n", 256), false); return err },
			"invalid_argument far too long":  func() error { _, err := own.Stat(ctx, strings.Repeat("n/", 2048), false); return err },
			"invalid_argument NUL":           func() error { _, err := own.Stat(ctx, "a\x00b", false); return err },
			"invalid_argument nothing":       func() error { _, err := own.Stat(ctx, "", false); return err },
			"invalid_argument unknown user":  func() error { f := own; f.User = "nobody-there"; _, err := f.Stat(ctx, "/", false); return err },
			"invalid_argument unknown group": func() error { f := own; f.User = "1000:none"; _, err := f.Stat(ctx, "/", false); return err },
			"not_found no claim":             func() error { _, err := d.Files("c-aaaaaaaaaaaaaaaa").Stat(ctx, "/", false); return err },
			"range_not_satisfiable":          func() error { _, _, err := own.Read(ctx, "out", 1<<40, ""); return err },
			"precondition_failed":            func() error { _, _, err := own.Read(ctx, "out", 0, `"x"`); return err },
		} {
			code, _, _ := strings.Cut(what, " ")
			err := do()
			if answer, ok := errors.AsType[*wire.Error](err); !ok || answer.Code != code {
				t.Errorf("%s: error %v, want code %s", what, err, code)
			}
		}
		if got, want := readAll(t, own, "out"), readAll(t, root, "/etc/passwd"); got != want || got == "" {
			t.Errorf("the link out of the sandbox leads to %q, want its own %q", got, want)
		}
		if got := readAll(t, own, "/proc/version"); !strings.Contains(got, "Linux") {
			t.Errorf("a file without a size has %q", got)
		}
	})
	t.Run("owners and modes", func(t *testing.T) {
		mode := uint32(0o4750)
		if _, err := root.Write(ctx, "kept", strings.NewReader("1"), client.WriteOptions{Mode: &mode, Time: time.Unix(1_700_000_000, 5)}); err != nil {
			t.Fatal(err)
		}
		if got, err := root.Chown(ctx, "kept", "1000:1000"); err != nil || got.UID != 1000 || got.GID != 1000 {
			t.Errorf("chown: %+v, %v", got, err)
		}
		if got, err := root.Chmod(ctx, "kept", 0o640); err != nil || got.Mode != "0640" || !got.ModifiedAt.Equal(time.Unix(1_700_000_000, 5)) {
			t.Errorf("chmod: %+v, %v", got, err)
		}
		if got, err := root.Write(ctx, "kept", strings.NewReader("2"), client.WriteOptions{}); err != nil || got.UID != 1000 || got.Mode != "0640" {
			t.Errorf("what replaces a file: %+v, %v", got, err)
		}
		size := int64(1)
		if got, err := root.Write(ctx, "kept", strings.NewReader("34"), client.WriteOptions{Append: true, Offset: &size}); err != nil || got.Size != 3 {
			t.Errorf("append: %+v, %v", got, err)
		}
		_, err := root.Write(ctx, "kept", strings.NewReader("5"), client.WriteOptions{Append: true, Offset: &size})
		wantError(t, err, "conflict")
	})
	t.Run("list", func(t *testing.T) {
		if _, err := own.Mkdir(ctx, "tree/a/b", 0o700, true); err != nil {
			t.Fatal(err)
		}
		if _, err := own.Write(ctx, "tree/a/b/caf\xe9", strings.NewReader(""), client.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		for depth, want := range map[int]string{1: `"a"`, 2: `"a""a/b"`, 0: `"a""a/b""a/b/caf\xe9"`} {
			got := ""
			err := own.List(ctx, "tree", depth, func(f wire.File) error { got += fmt.Sprintf("%q", f.Name()); return nil })
			if err != nil || got != want {
				t.Errorf("depth %d: %s, %v, want %s", depth, got, err, want)
			}
		}
		if err := own.Remove(ctx, "tree", true); err != nil {
			t.Error(err)
		}
		wantError(t, own.List(ctx, "tree", 0, nil), "file_not_found")
	})
	t.Run("a full disk", func(t *testing.T) {
		if _, err := own.Write(ctx, "big", strings.NewReader("old"), client.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err := own.Write(ctx, "big", io.LimitReader(endless{}, 1<<30), client.WriteOptions{})
		wantError(t, err, "disk_full")
		if _, err := own.Write(ctx, "big", strings.NewReader("other"), client.WriteOptions{Size: 6}); err == nil {
			t.Error("5 bytes are taken for 6")
		}
		if got, err := own.Write(ctx, "part", strings.NewReader("other"), client.WriteOptions{Size: 3}); err != nil || got.Size != 3 {
			t.Errorf("3 of 5 bytes: %+v, %v", got, err)
		}
		if got := readAll(t, own, "big"); got != "old" {
			t.Errorf("the old file has %.20q", got)
		}
		if code, out, err := output(ctx, d.Client, c.ID, "", "sh", "-c", "ls -a | grep sandpool-; df -m / | tail -1"); err != nil || strings.Contains(out, ".sandpool-") {
			t.Errorf("left over: exit code %d, %v, %s", code, err, out)
		}
	})
	t.Run("the command", func(t *testing.T) { filesCommand(t, d, c) })
	t.Run("watch", func(t *testing.T) { watchFiles(t, ctx, d, c, own) })
	t.Run("an upload that breaks off", func(t *testing.T) { brokenUpload(t, ctx, d, c, own) })
}

// brokenUpload has clients go away in the middle of a file, also one that said how long it is.
func brokenUpload(t *testing.T, ctx context.Context, d *running, c wire.Claim, own client.Files) {
	for _, header := range []string{"Content-Length: 100000000", "Transfer-Encoding: chunked"} {
		conn, err := net.Dial("unix", d.Socket)
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "PUT /v1/claims/%s/files?path=big HTTP/1.1\r\nHost: s\r\n%s\r\n\r\n10000\r\n%s", c.ID, header, strings.Repeat("n", 0x10000))
		if err == nil {
			err = conn.(*net.UnixConn).Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	await(t, "nothing is left of them", func() bool {
		_, out, err := output(ctx, d.Client, c.ID, "", "sh", "-c", "ls -a; ps")
		return err == nil && !strings.Contains(out, ".sandpool-") && !strings.Contains(out, "file write")
	})
	if got := readAll(t, own, "big"); got != "old" {
		t.Errorf("the old file has %.20q", got)
	}
}

// watchFiles has a folder watched while a program in the sandbox works in it.
func watchFiles(t *testing.T, ctx context.Context, d *running, c wire.Claim, own client.Files) {
	enough := errors.New("enough")
	for _, after := range []string{"", "earlier-1"} {
		var got []string
		shell(t, d.Client, c.ID, "rm -rf w; mkdir -p w/in")
		err := own.Watch(ctx, "w", true, after, func(e wire.FileEvent) error {
			got = append(got, fmt.Sprintf("%s %q", e.Kind, e.Name()))
			// What is in a new folder is told of only if it is still there when the folder is watched: so one thing comes after the other.
			next := map[string]string{
				got[0]:              `echo x >"$(printf 'in/caf\351')" && mkdir -p new/er`,
				`created "new/er"`:  "mv in out && rm -r new",
				`removed "new"`:     "touch out/end",
				`created "out/end"`: "",
			}
			then, is := next[got[len(got)-1]]
			if is && then == "" {
				return enough
			}
			if is {
				shell(t, d.Client, c.ID, "cd w && "+then)
			}
			return nil
		})
		all := strings.Join(got, "\n")
		first := `begun "."`
		if after != "" {
			first = `lost "."`
		}
		for _, want := range []string{first, `created "in/caf\xe9"`, `changed "in/caf\xe9"`, `written "in/caf\xe9"`, `created "new"`, `created "new/er"`, `moved_from "in"`, `moved_to "out"`, `removed "new"`, `created "out/end"`} {
			if !strings.Contains(all+"\n", want+"\n") {
				t.Errorf("%v: there is no %s in\n%s", err, want, all)
			}
		}
		if !errors.Is(err, enough) || !strings.HasPrefix(all, first) {
			t.Errorf("%v, and the first event is %s", err, got[:min(1, len(got))])
		}
	}
	var seen []wire.FileEvent
	for _, file := range []string{"w/before", "w/meanwhile"} { // each time the client leaves at the first that it is told, and comes back behind that
		after := ""
		if len(seen) > 0 {
			after = seen[0].Cursor
		}
		err := own.Watch(ctx, "w", true, after, func(e wire.FileEvent) error {
			seen = append(seen, e)
			return enough
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		shell(t, d.Client, c.ID, "touch "+file)
	}
	if len(seen) != 2 || seen[0].Kind != wire.FileBegun || seen[1].Kind != wire.FileCreated || seen[1].Path != "before" {
		t.Errorf("who comes back is told %v", seen)
	}
	gone := own.Watch(ctx, "w", false, "", func(e wire.FileEvent) error {
		if e.Kind == wire.FileBegun {
			shell(t, d.Client, c.ID, "rm -r w")
		}
		return nil
	})
	if gone != nil {
		t.Errorf("the watch of a folder that was removed ends with %v", gone)
	}
	wantError(t, own.Watch(ctx, "w", false, "", nil), "file_not_found")
	await(t, "no watch is left behind", func() bool { return !strings.Contains(shell(t, d.Client, c.ID, "ps"), "file watch") })
}

// filesCommand runs sandpool cp and sandpool files as users do.
func filesCommand(t *testing.T, d *running, c wire.Claim) {
	dir := t.TempDir()
	for _, step := range []struct {
		args, in string
		code     int
		out      string // a part of its output and errors
	}{
		{"files mkdir -p -m 750 ID made/deep", "", 0, ""},
		{"files mkdir ID made", "", 1, "file exists"},
		{"cp /etc/hostname ID:made/", "", 0, ""},
		{"cp ID:made/. " + dir, "", 0, ""},
		{"files mv ID made/hostname made/name", "", 0, ""},
		{"files chmod ID 600 made/name", "", 0, ""},
		{"files chmod ID 999 made/name", "", 2, "in octal"},
		{"files chown -u root ID 0:0 made/name", "", 0, ""},
		{"files cat ID made/name", "", 1, "permission denied"},
		{"files cat -u root ID made/name", "", 0, strings.TrimSpace(onHost(t, "cat /etc/hostname", ""))},
		{"files ls -d 0 ID made", "", 0, "f 0600  0:0"},
		{"files stat ID made/deep", "", 0, "1000:1000"},
		{"--json files ls ID made", "", 0, `"kind": "folder"`},
		{"cp ID:made " + dir + "/x", "", 1, "sandpool: pack \"x/name\": permission denied\n"},
		{"__complete files stat ID made/", "", 0, "made/deep/\nmade/name\n"},
		{"__complete cp ID:ma", "", 0, "ID:made/\n"},
		{"__complete cp c-", "", 0, "ID:\t"},
		{"files rm ID made", "", 1, "not empty"},
		{"files rm -r ID made", "", 0, ""},
		{"files ls ID made", "", 3, "no such file"},
		{"files ls c-aaaaaaaaaaaaaaaa", "", 3, "does not exist"},
		{"files ls", "", 2, "which claim?"},
		{"bench files --mib 4 --rounds 1", "", 0, "FILE OF PIPE"},
		{"bench files --mib 0", "", 2, "at least 1"},
		{"bench exec --rounds 1 --ctr " + host.Ctr + " --address " + host.Address, "", 0, "true, by ctr"},
		{"bench exec --rounds 1 --json", "", 0, `"kind": "state of a process"`},
		{"bench exec --rounds 0", "", 2, "at least 1"},
		{"bench exec --rounds 1 --ctr /bin/false", "", 1, ": /bin/false: exit status 1"}, // whichever of its ways is timed first,
		{"cp - ID:", "", 1, "a path is missing"},
		{"cp - ID:.", "no tar stream" + strings.Repeat(".", 600), 2, "invalid tar header"},
		{"cp -u nobody-there ID:/etc .", "", 2, "not in the sandbox's /etc/passwd"},
	} {
		args := append([]string{"--socket", d.Socket}, strings.Fields(strings.ReplaceAll(step.args, "ID", c.ID))...)
		cmd := exec.CommandContext(t.Context(), realCommand(t), args...)
		cmd.Stdin = strings.NewReader(step.in)
		out, _ := cmd.CombinedOutput() // its exit code says it
		want := strings.ReplaceAll(step.out, "ID", c.ID)
		if code := cmd.ProcessState.ExitCode(); code != step.code || !strings.Contains(string(out), want) || code == 0 && step.out == "" && len(out) > 0 {
			t.Errorf("sandpool %s: exit code %d, %q; want %d and %q", step.args, code, out, step.code, step.out)
		}
	}
	if got := onHost(t, `cat "$0"/hostname; ls "$0"`, dir); !strings.HasSuffix(got, "deep\nhostname\nx\n") {
		t.Errorf("what was copied out: %q", got)
	}
}
