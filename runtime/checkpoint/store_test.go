package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func open(t *testing.T, dir string, step func(string)) *Store {
	t.Helper()
	s, err := Open(dir, Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Step: step})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openTemp(t *testing.T) *Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "checkpoints"), func(string) {})
}

// files writes two files, whose names tell their content.
func files(_ context.Context, dir string) (Compatibility, error) {
	return Compatibility{Runsc: "1"}, errors.Join(
		os.WriteFile(filepath.Join(dir, "pages"), []byte("pages"), 0o600),
		os.WriteFile(filepath.Join(dir, "state"), []byte("state"), 0o600))
}

func create(t *testing.T, s *Store, m Manifest) Manifest {
	t.Helper()
	m, err := s.Create(t.Context(), m, files)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ids(all []Manifest) []string {
	var ids []string
	for _, m := range all {
		ids = append(ids, m.ID)
	}
	return ids
}

func TestCheckpointsOutliveTheStore(t *testing.T) {
	s := openTemp(t)
	a := create(t, s, Manifest{Claim: "c-1", Trigger: "request", Comment: "before\nthe move"})
	b := create(t, s, Manifest{Claim: "c-2", Parent: a.ID})
	if !idPattern.MatchString(a.ID) || a.Bytes != 10 || len(a.Files) != 2 || a.Compatibility.Runsc != "1" || time.Since(a.CreatedAt) > time.Minute {
		t.Errorf("manifest %+v", a)
	}
	again := open(t, s.dir, func(string) {})
	if got := again.List(); len(got) != 2 || !reflect.DeepEqual(got, s.List()) {
		t.Errorf("after a restart: %+v, want %+v", got, s.List())
	}
	if got, err := again.Get(b.ID); err != nil || !reflect.DeepEqual(got, b) {
		t.Errorf("get: %+v, %v; want %+v", got, err, b)
	}
	retagged, err := again.Retag(a.ID, "expiry", "", "[1]")
	if err != nil || retagged.Trigger != "expiry" || retagged.Comment != a.Comment {
		t.Errorf("retag: %+v, %v", retagged, err)
	}
	if retagged, err = again.Retag(a.ID, "request", "after", "[2]"); err != nil || retagged.Trigger != "request" || retagged.Comment != "after" || retagged.Network != "[2]" {
		t.Errorf("retag with a comment: %+v, %v", retagged, err)
	}
	if got, err := open(t, s.dir, func(string) {}).Get(a.ID); err != nil || !reflect.DeepEqual(got, retagged) {
		t.Errorf("after retag and restart: %+v, %v; want %+v", got, err, retagged)
	}
	info, err := os.Stat(s.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v; want mode 0700", info, err)
	}
}

func TestUnknownCheckpointIsNotFound(t *testing.T) {
	s := openTemp(t)
	for _, id := range []string{"ck-aaaaaaaaaaaaaaaa", "", "..", "../x"} {
		_, err := s.Get(id)
		_, _, useErr := s.Use(id)
		_, tagErr := s.Retag(id, "x", "", "")
		for call, err := range map[string]error{"get": err, "use": useErr, "retag": tagErr, "delete": s.Delete(id)} {
			if !errdefs.IsNotFound(err) {
				t.Errorf("%s of %q: %v, want NotFound", call, id, err)
			}
		}
	}
}

func TestCheckpointInUseStays(t *testing.T) {
	s := openTemp(t)
	m := create(t, s, Manifest{})
	dir, release, err := s.Use(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := s.Use(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "pages")); err != nil || string(data) != "pages" {
		t.Errorf("content %q, %v", data, err)
	}
	release()
	release() // counts once
	if err := s.Delete(m.ID); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("delete while in use: %v, want FailedPrecondition", err)
	}
	if got := s.Prune(Policy{MaxAge: 1}, time.Now().Add(time.Hour)); len(got) > 0 {
		t.Errorf("pruned while in use: %+v", got)
	}
	other()
	if err := s.Delete(m.ID); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	tests := map[string]struct {
		write func(ctx context.Context, dir string) (Compatibility, error)
		is    func(error) bool
	}{
		"error":           {func(context.Context, string) (Compatibility, error) { return Compatibility{}, errdefs.ErrUnavailable }, errdefs.IsUnavailable},
		"missed deadline": {func(context.Context, string) (Compatibility, error) { return Compatibility{}, context.DeadlineExceeded }, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		"full disk": {func(context.Context, string) (Compatibility, error) {
			return Compatibility{}, fmt.Errorf("write: %w", unix.ENOSPC)
		}, errdefs.IsResourceExhausted},
		"full, says runsc": {func(context.Context, string) (Compatibility, error) {
			return Compatibility{}, errors.New("write: no space left on device")
		}, errdefs.IsResourceExhausted},
		"folder": {func(_ context.Context, dir string) (Compatibility, error) {
			return Compatibility{}, os.Mkdir(filepath.Join(dir, "sub"), 0o700)
		}, func(err error) bool { return strings.Contains(err.Error(), "no regular file") }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := openTemp(t)
			_, err := s.Create(t.Context(), Manifest{}, func(ctx context.Context, dir string) (Compatibility, error) {
				if _, err := files(ctx, dir); err != nil {
					return Compatibility{}, err
				}
				return test.write(ctx, dir)
			})
			if err == nil || !test.is(err) {
				t.Errorf("error %v is of the wrong kind", err)
			}
			if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 || len(s.List()) > 0 {
				t.Errorf("left: %v, %v, listed %v", left, err, s.List())
			}
		})
	}
}

func TestCallerThatLeavesStopsTheWrite(t *testing.T) {
	s := openTemp(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := s.Create(ctx, Manifest{}, func(ctx context.Context, dir string) (Compatibility, error) {
		cancel(os.ErrClosed)
		return files(ctx, dir)
	})
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v, want the cause", err)
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestPrune(t *testing.T) {
	tests := map[string]struct {
		policy Policy
		inUse  int // index of one in use, or -1
		keep   []int
		want   []int // what is deleted, of five that are 5 to 1 hours old and have 10 bytes each
	}{
		"no bounds":               {Policy{}, -1, nil, nil},
		"age":                     {Policy{MaxAge: 150 * time.Minute}, -1, nil, []int{0, 1, 2}},
		"age takes the newest":    {Policy{MaxAge: time.Minute}, -1, nil, []int{0, 1, 2, 3, 4}},
		"count":                   {Policy{All: Bounds{Count: 3}}, -1, nil, []int{0, 1}},
		"bytes":                   {Policy{All: Bounds{Bytes: 35}}, -1, nil, []int{0, 1}},
		"an owner's count":        {Policy{Each: Bounds{Count: 3}}, -1, nil, []int{0, 1}},
		"an owner's bytes":        {Policy{Each: Bounds{Bytes: 35}}, -1, []int{1}, []int{0, 2}},
		"bytes of none":           {Policy{All: Bounds{Bytes: 9}}, -1, nil, []int{0, 1, 2, 3, 4}},
		"kept ones count":         {Policy{All: Bounds{Count: 3}}, -1, []int{0, 2}, []int{1, 3}},
		"kept in spite of age":    {Policy{MaxAge: time.Minute}, -1, []int{1}, []int{0, 2, 3, 4}},
		"one in use stays":        {Policy{All: Bounds{Count: 3}}, 0, nil, []int{1, 2}},
		"age and count":           {Policy{MaxAge: 270 * time.Minute, All: Bounds{Count: 3}}, -1, nil, []int{0, 1}},
		"bounds that are kept to": {Policy{MaxAge: 6 * time.Hour, Each: Bounds{5, 50}, All: Bounds{5, 50}}, -1, nil, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := openTemp(t)
			now := time.Now()
			var all []string
			for i := range 5 {
				m := create(t, s, Manifest{})
				s.entries[m.ID].manifest.CreatedAt = now.Add(time.Duration(i-5) * time.Hour)
				all = append(all, m.ID)
			}
			if test.inUse >= 0 {
				_, release, err := s.Use(all[test.inUse])
				if err != nil {
					t.Fatal(err)
				}
				defer release()
			}
			test.policy.Keep = map[string]bool{}
			for _, i := range test.keep {
				test.policy.Keep[all[i]] = true
			}
			var want []string
			for _, i := range test.want {
				want = append(want, all[i])
			}
			if got := pruned(s.Prune(test.policy, now)); !slices.Equal(got, want) {
				t.Errorf("deleted %q, want %q", got, want)
			}
			if left, err := os.ReadDir(s.dir); err != nil || len(left) != len(s.List()) || len(left) != 5-len(want) {
				t.Errorf("left: %v, %v; listed %d, want %d", left, err, len(s.List()), 5-len(want))
			}
		})
	}
}

func TestFitNamesAllThatDiffers(t *testing.T) {
	then := Compatibility{}
	fields := reflect.ValueOf(&then).Elem()
	for i := range fields.NumField() {
		fields.Field(i).SetString("old-" + fields.Type().Field(i).Name)
	}
	if err := then.Check(then); err != nil {
		t.Errorf("the same: %v", err)
	}
	for i := range fields.NumField() {
		now := then
		name := fields.Type().Field(i).Name
		reflect.ValueOf(&now).Elem().Field(i).SetString("new-" + name)
		err := then.Check(now)
		if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "old-"+name) || !strings.Contains(err.Error(), "new-"+name) || strings.Count(err.Error(), "old-") != 1 {
			t.Errorf("%s differs: %v; want FailedPrecondition with both values and no other field", name, err)
		}
	}
	err := then.Check(Compatibility{})
	for _, field := range fields.Fields() {
		if !strings.Contains(err.Error(), field.String()) {
			t.Errorf("all differ: %v lacks %s", err, field)
		}
	}
}
