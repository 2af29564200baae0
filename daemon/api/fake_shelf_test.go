package api

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/containerd/errdefs"

	"sandpool/runtime/checkpoint"
)

// fakeSaver saves nothing but says so.
type fakeSaver struct {
	mu       sync.Mutex
	taken    []string // claim, trigger and comment of each
	manifest checkpoint.Manifest
	err      error
}

func (f *fakeSaver) Take(_ context.Context, claim, trigger, comment string) (checkpoint.Manifest, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken = append(f.taken, claim+" "+trigger+" "+comment)
	return f.manifest, f.err
}

func (f *fakeSaver) Retire(ctx context.Context, claim, comment string) (checkpoint.Manifest, error) {
	return f.Take(ctx, claim, "and end", comment)
}

// fakeShelf holds manifests without checkpoints.
type fakeShelf struct {
	mu  sync.Mutex
	all map[string]checkpoint.Manifest
	err error // what Delete fails with
}

func newFakeShelf(owner string) *fakeShelf {
	f := &fakeShelf{all: map[string]checkpoint.Manifest{}}
	for id, owner := range map[string]string{savedID: owner, othersSavedID: "uid:4242"} {
		f.all[id] = checkpoint.Manifest{ID: id, Owner: owner, Template: "default", Trigger: checkpoint.TriggerRequest, Bytes: 7}
	}
	return f
}

func (f *fakeShelf) List() []checkpoint.Manifest {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []checkpoint.Manifest
	for _, id := range slices.Sorted(maps.Keys(f.all)) {
		list = append(list, f.all[id])
	}
	return list
}

func (f *fakeShelf) Get(id string) (checkpoint.Manifest, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok := f.all[id]
	if !ok {
		return m, errdefs.ErrNotFound
	}
	return m, nil
}

func (f *fakeShelf) Delete(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	if _, ok := f.all[id]; !ok {
		return errdefs.ErrNotFound
	}
	delete(f.all, id)
	return nil
}
