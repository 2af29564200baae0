// Package checkpoint keeps checkpoints of sandboxes on disk: a folder for each, with a manifest that says what is in it.
package checkpoint

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/runtime/atomicfile"
	"sandpool/runtime/hostpath"
)

// tempPrefix begins the names of folders that are not complete, or not any more.
const tempPrefix = ".tmp-"

// Store is a folder of checkpoints. Its methods may be called from many goroutines, but one process alone may use the folder.
type Store struct {
	dir  string
	log  *slog.Logger
	step func(string)

	mu       sync.Mutex
	entries  map[string]*entry
	last     uint64     // the highest Seq that was given
	retaging sync.Mutex // held while a manifest is rewritten
}

// entry is one checkpoint of the store.
type entry struct {
	manifest Manifest // guarded by the store's mu
	users    int      // guarded by the store's mu

	verifying sync.Mutex
	verified  map[string]stamp // by file
}

// Options are what a store is used with. All fields are required.
type Options struct {
	Log  *slog.Logger
	Step func(string) // told at every step after which a crash must leave a store that can be opened
}

// Open opens the store in dir, which it makes if there is none. It removes what a crash left half-written or half-deleted.
// Folders that it does not understand it logs and leaves alone.
func Open(dir string, o Options) (*Store, error) {
	dir, err := filepath.Abs(dir) // containerd's programs work in other folders
	if err != nil {
		return nil, fmt.Errorf("make folder of checkpoints: %w", err)
	}
	s := &Store{dir: dir, log: o.Log, step: o.Step, entries: map[string]*entry{}}
	if err := hostpath.MakeFolder(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of checkpoints: %w", err)
	}
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	for _, f := range found {
		path := s.path(f.Name())
		if strings.HasPrefix(f.Name(), tempPrefix) {
			if err := os.RemoveAll(path); err != nil {
				return nil, fmt.Errorf("remove half-written checkpoint: %w", err)
			}
			continue
		}
		m, err := readManifest(path)
		if err != nil {
			s.log.Warn("this is no checkpoint that can be used; it is left alone", "path", path, "err", err)
			continue
		}
		s.entries[m.ID] = &entry{manifest: m, verified: map[string]stamp{}}
		s.last = max(s.last, m.Seq)
	}
	return s, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// Create makes a checkpoint of what write puts into dir, and returns its manifest once all of it is on disk. write returns
// what the checkpoint needs in order to be restored. After an error nothing is left of it; that the disk is full is one of
// class ResourceExhausted.
func (s *Store) Create(ctx context.Context, m Manifest, write func(ctx context.Context, dir string) (Compatibility, error)) (Manifest, error) {
	m.Version, m.ID = version, "ck-"+strings.ToLower(rand.Text()[:16])
	m, err := s.create(ctx, m, write)
	if err != nil {
		return Manifest{}, fmt.Errorf("create checkpoint: %w", classify(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[m.ID] = &entry{manifest: m, verified: map[string]stamp{}}
	return m, nil
}

func (s *Store) create(ctx context.Context, m Manifest, write func(ctx context.Context, dir string) (Compatibility, error)) (_ Manifest, err error) {
	temp, err := os.MkdirTemp(s.dir, tempPrefix)
	if err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	if m.Compatibility, err = write(ctx, temp); err != nil {
		return m, err
	}
	if m.Files, m.Bytes, err = listFiles(ctx, temp); err != nil {
		return m, err
	}
	m.Seq, m.CreatedAt = s.next(), time.Now().UTC().Round(0) // as it will be read from disk
	if err := writeManifest(temp, m); err != nil {
		return m, err
	}
	s.step("checkpoint written")
	if err := os.Rename(temp, s.path(m.ID)); err != nil {
		return m, err
	}
	temp = s.path(m.ID)
	s.step("checkpoint renamed")
	return m, atomicfile.Sync(s.dir)
}

// next numbers a checkpoint. Times cannot order them: two may be the same, and the clock may be set back.
func (s *Store) next() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	return s.last
}

// List returns all checkpoints, the oldest first.
func (s *Store) List() []Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Manifest, 0, len(s.entries))
	for _, e := range s.entries {
		all = append(all, e.manifest)
	}
	slices.SortFunc(all, func(a, b Manifest) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Get returns a checkpoint. That there is none is an error of class NotFound.
func (s *Store) Get(id string) (Manifest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return Manifest{}, missing(id)
	}
	return e.manifest, nil
}

func missing(id string) error {
	return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("checkpoint %s does not exist", id))
}

// Delete deletes a checkpoint. That there is none is an error of class NotFound, that it is in use of class FailedPrecondition.
func (s *Store) Delete(id string) error {
	e, err := s.take(id)
	if err != nil {
		return err
	}
	// Under a temporary name it is gone as a whole, whatever happens to its files.
	temp := s.path(tempPrefix + id)
	if err := os.Rename(s.path(id), temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.entries[id] = e
		return fmt.Errorf("delete checkpoint %s: %w", id, err)
	}
	if err := atomicfile.Sync(s.dir); err != nil {
		return fmt.Errorf("delete checkpoint %s: %w", id, err)
	}
	s.step("checkpoint deleted")
	if err := os.RemoveAll(temp); err != nil {
		return fmt.Errorf("delete files of checkpoint %s, which are removed at the next start: %w", id, err)
	}
	return nil
}

// take removes a checkpoint that nobody uses from the list.
func (s *Store) take(id string) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	switch {
	case e == nil:
		return nil, missing(id)
	case e.users > 0:
		return nil, errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("checkpoint %s is in use: try again later", id))
	}
	delete(s.entries, id)
	return e, nil
}

// Use returns the folder of a checkpoint, whose files it compares with their checksums; they are read again only when they
// have changed. The checkpoint cannot be deleted until release is called. That there is none is an error of class
// NotFound, that it is damaged of class FailedPrecondition.
func (s *Store) Use(id string) (dir string, release func(), err error) {
	e, m, release, err := s.hold(id)
	if err != nil {
		return "", nil, err
	}
	e.verifying.Lock()
	defer e.verifying.Unlock()
	if err := verify(s.path(id), m.Files, e.verified); err != nil {
		release()
		return "", nil, fmt.Errorf("use checkpoint %s: %w", id, err)
	}
	return s.path(id), release, nil
}

// hold counts one more user of a checkpoint, until release is called.
func (s *Store) hold(id string) (*entry, Manifest, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return nil, Manifest{}, nil, missing(id)
	}
	e.users++
	return e, e.manifest, sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		e.users--
	}), nil
}

// Retag notes another reason for which a checkpoint is kept, what its claim may connect to by now, and a comment unless that is empty. That there is no such checkpoint
// is an error of class NotFound.
func (s *Store) Retag(id, trigger, comment, network string) (Manifest, error) {
	s.retaging.Lock()
	defer s.retaging.Unlock()
	e, m, release, err := s.hold(id)
	if err != nil {
		return Manifest{}, err
	}
	defer release()
	m.Trigger, m.Comment, m.Network = trigger, cmp.Or(comment, m.Comment), network
	if err := writeManifest(s.path(id), m); err != nil {
		return Manifest{}, fmt.Errorf("note trigger of checkpoint %s: %w", id, classify(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.manifest = m
	return m, nil
}
