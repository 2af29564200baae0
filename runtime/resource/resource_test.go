package resource

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"sandpool/runtime/hostproc"
)

// recorded is a kind that notes in a book what is done with it.
func recorded(name string, book *[]string, fault error) kind {
	note := func(what string) error {
		*book = append(*book, what+" "+name)
		return fault
	}
	return kind{
		name:   name,
		make:   func(context.Context, *Spec) error { return note("make") },
		remove: func(context.Context, string) error { return note("remove") },
		owners: func(context.Context) ([]string, error) { return []string{"sb-" + strings.Repeat("a", 16)}, nil },
	}
}

// What is made first is removed last, and what cannot be removed keeps nothing else.
func TestOrder(t *testing.T) {
	var book []string
	broken := errors.New("broken")
	s := &Set{
		ofContainer: []kind{recorded("files", &book, nil), recorded("snapshot", &book, broken)},
		ofTask:      []kind{recorded("bundle", &book, nil), recorded("cgroups", &book, broken)},
	}
	if err := s.Make(t.Context(), &Spec{}); !errors.Is(err, broken) || !strings.Contains(err.Error(), "make snapshot") {
		t.Errorf("make: %v", err)
	}
	for _, remove := range []func(context.Context, string) error{s.RemoveOfTask, s.RemoveOfContainer} {
		if err := remove(t.Context(), "x"); !errors.Is(err, broken) {
			t.Errorf("remove: %v", err)
		}
	}
	want := "make files, make snapshot, remove cgroups, remove bundle, remove snapshot, remove files"
	if got := strings.Join(book, ", "); got != want {
		t.Errorf("%s; want %s", got, want)
	}
	owned, err := s.Owners(t.Context())
	if names := owned["sb-"+strings.Repeat("a", 16)]; err != nil || !slices.Equal(names, []string{"files", "snapshot", "bundle", "cgroups"}) {
		t.Errorf("owners %v, %v", owned, err)
	}
}

// Files are made, made anew, found by their names and removed, and those of others stay.
func TestFiles(t *testing.T) {
	const id, other = "sb-aaaaaaaaaaaaaaaa", "sb-bbbbbbbbbbbbbbbb"
	dir := filepath.Join(t.TempDir(), "shim")
	files := (&Set{cfg: Config{FilesDir: dir}}).files()
	if ids, err := files.owners(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("no folder: %v, %v", ids, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{id, other} {
		if err := files.make(t.Context(), &Spec{ID: id, Files: map[string][]byte{".toml": []byte("x"), ".panic": nil}}); err != nil {
			t.Fatal(err)
		}
	}
	crash := filepath.Join(dir, id+".panic")
	if err := os.WriteFile(crash, []byte("goroutine 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := files.renew(t.Context(), &Spec{ID: id, Files: map[string][]byte{".toml": []byte("y"), ".panic": nil}}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, id+".toml")); err != nil || string(data) != "y" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := os.Stat(crash); !os.IsNotExist(err) {
		t.Errorf("what an earlier sentry said is there: %v", err)
	}
	if err := files.remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if ids, err := files.owners(t.Context()); err != nil || !slices.Equal(ids, []string{other}) {
		t.Errorf("%v are left, %v; want %s", ids, err, other)
	}
}

// Cgroups are found in every hierarchy, and those of version 2 only in the one that there is.
func TestCgroups(t *testing.T) {
	const id = "sb-aaaaaaaaaaaaaaaa"
	for version, layout := range map[string]struct{ dirs, want []string }{
		"1": {[]string{"memory/ns/" + id, "pids/ns/" + id, "cpu/ns/sb-other", "freezer"}, []string{"memory/ns/" + id, "pids/ns/" + id}},
		"2": {[]string{"ns/" + id, "cgroup.controllers", "system.slice/ns/" + id}, []string{"ns/" + id}},
	} {
		root := t.TempDir()
		for _, dir := range layout.dirs {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		found, err := cgroupsIn(root, "ns", id)
		for i := range found {
			found[i], _ = filepath.Rel(root, found[i])
		}
		if err != nil || !slices.Equal(found, layout.want) {
			t.Errorf("version %s: %v, %v; want %v", version, found, err, layout.want)
		}
	}
}

// TestContainerdIsAskedOnce counts the connections by which the process behind a socket is found.
func TestContainerdIsAskedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var s server
	for range 3 {
		if pid, err := s.pid(t.Context(), path); err != nil || pid != os.Getpid() {
			t.Errorf("process %d, %v; want %d", pid, err, os.Getpid())
		}
	}
	last, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := last.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	connections := 0
	for said := 0; said == 0; connections++ {
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		said, _ = conn.Read(make([]byte, 1)) // the others have hung up
	}
	if connections != 2 {
		t.Errorf("%d connections, want one for three questions", connections-1)
	}
	s.last = hostproc.Process{} // as if it had ended
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pid(t.Context(), path); !errdefs.IsUnavailable(err) {
		t.Errorf("without containerd: %v, want unavailable", err)
	}
}
