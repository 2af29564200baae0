package checkpoint

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// The file system has room for one checkpoint and not for two.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	s := open(t, dir, func(string) {})
	large := func(_ context.Context, dir string) (Compatibility, error) {
		return Compatibility{}, os.WriteFile(filepath.Join(dir, "pages"), make([]byte, 150<<10), 0o600)
	}
	first, err := s.Create(t.Context(), Manifest{}, large)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), Manifest{}, large); !errdefs.IsResourceExhausted(err) || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("error %v, want ResourceExhausted", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != first.ID {
		t.Errorf("left: %v, %v; want %s", left, err, first.ID)
	}
	if err := s.Delete(first.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.Create(t.Context(), Manifest{}, large); err != nil {
		t.Errorf("after room was made: %v", err)
	}
}

func TestDamagedFilesAreNotUsed(t *testing.T) {
	tests := map[string]struct {
		damage func(path string) error
		want   string
	}{
		"truncated": {func(path string) error { return os.Truncate(path, 3) }, "it has 3 bytes, want 5"},
		"grown":     {func(path string) error { return os.Truncate(path, 6) }, "it has 6 bytes, want 5"},
		"missing":   {os.Remove, "it is missing"},
		"corrupt":   {func(path string) error { return os.WriteFile(path, []byte("pagez"), 0o600) }, "SHA-256"},
	}
	for name, test := range tests {
		for _, usedBefore := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, used before %v", name, usedBefore), func(t *testing.T) {
				s := openTemp(t)
				m := create(t, s, Manifest{})
				path := filepath.Join(s.path(m.ID), "pages")
				long := time.Now().Add(-time.Hour) // so that the damage shows in the time, however coarse that is
				if err := os.Chtimes(path, long, long); err != nil {
					t.Fatal(err)
				}
				if usedBefore {
					_, release, err := s.Use(m.ID)
					if err != nil {
						t.Fatal(err)
					}
					release()
				}
				if err := test.damage(path); err != nil {
					t.Fatal(err)
				}
				_, _, err := s.Use(m.ID)
				if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want FailedPrecondition with the file and %q", err, test.want)
				}
				if err := s.Delete(m.ID); err != nil {
					t.Errorf("delete of a damaged one: %v", err)
				}
			})
		}
	}
}

func TestForeignFoldersAreLeftAlone(t *testing.T) {
	s := openTemp(t)
	good := create(t, s, Manifest{})
	manifest, err := os.ReadFile(filepath.Join(s.path(good.ID), manifestFile))
	if err != nil {
		t.Fatal(err)
	}
	const id = "ck-aaaaaaaaaaaaaaaa"
	own := bytes.ReplaceAll(manifest, []byte(good.ID), []byte(id))
	foreign := map[string][]byte{
		id:                    bytes.Replace(own, []byte(`"version": 1`), []byte(`"version": 2`), 1),
		"ck-bbbbbbbbbbbbbbbb": own,
		"ck-cccccccccccccccc": []byte("{"),
		"ck-dddddddddddddddd": nil,
		"ck-eeeeeeeeeeeeeeee": bytes.ReplaceAll(bytes.ReplaceAll(manifest, []byte(good.ID), []byte("ck-eeeeeeeeeeeeeeee")), []byte(`"pages"`), []byte(`"../pages"`)),
		"lost+found":          bytes.ReplaceAll(manifest, []byte(good.ID), []byte("lost+found")),
	}
	for name, data := range foreign {
		if err := os.Mkdir(s.path(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if data == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(s.path(name), manifestFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.path("note"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, s.dir, func(string) {})
	again.Prune(Policy{MaxAge: 1, All: Bounds{1, 1}, Keep: map[string]bool{good.ID: true}}, time.Now().Add(time.Hour))
	if got := ids(again.List()); !slices.Equal(got, []string{good.ID}) {
		t.Errorf("listed %q, want %s", got, good.ID)
	}
	for name := range foreign {
		if _, err := os.Stat(s.path(name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(s.path("note")); err != nil {
		t.Error(err)
	}
}

// A crash at each step leaves a checkpoint that is whole or none.
func TestCrashAtEachStep(t *testing.T) {
	for step, want := range map[string]int{"checkpoint written": 1, "checkpoint renamed": 2, "checkpoint deleted": 0} {
		t.Run(step, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "checkpoints")
			first := create(t, open(t, dir, func(string) {}), Manifest{})
			crashed := false
			s := open(t, dir, func(at string) {
				if at == step {
					panic(step)
				}
			})
			func() {
				defer func() { crashed = recover() != nil }()
				if step == "checkpoint deleted" {
					t.Error(s.Delete(first.ID))
				} else {
					_, err := s.Create(t.Context(), Manifest{}, files)
					t.Error(err)
				}
			}()
			again := open(t, dir, func(string) {})
			if got := again.List(); !crashed || len(got) != want {
				t.Errorf("crashed %v; %d checkpoints, want %d", crashed, len(got), want)
			}
			for _, m := range again.List() {
				_, release, err := again.Use(m.ID)
				if err != nil {
					t.Fatal(err)
				}
				release()
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != want {
				t.Errorf("left: %v, %v; want %d", left, err, want)
			}
		})
	}
}
