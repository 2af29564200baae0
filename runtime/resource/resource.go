// Package resource knows what a sandbox owns beside its container and its processes: how each thing is made and removed, and
// whose it is.
package resource

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
)

// Spec is what is made for one sandbox.
type Spec struct {
	ID     string
	Parent string            // the snapshot that the sandbox's own lies on
	Files  map[string][]byte // of the sandbox's own, by their suffix; one without content is removed
	NIC    string            // see Set.NIC
	Root   []mount.Mount     // of its root file system; set by Make and Renew
}

// kind is one kind of thing that sandboxes own.
type kind struct {
	name string
	// make makes it for a new container; nil: the container's task brings it along.
	make func(ctx context.Context, spec *Spec) error
	// renew makes it fit for another task of the same container; nil: it stays as it is.
	renew func(ctx context.Context, spec *Spec) error
	// remove removes it. That there is none is no error.
	remove func(ctx context.Context, id string) error
	// owners returns the ids of all sandboxes that have one; nil: it does not show whose it is.
	owners func(ctx context.Context) ([]string, error)
}

// Config says where an engine's sandboxes have what they own.
type Config struct {
	Client      *client.Client
	Address     string // containerd's socket
	Namespace   string
	Snapshotter string
	RunscDir    string       // where runsc keeps the namespace's sandboxes; no other engine's are there
	FilesDir    string       // of the sandboxes' own files, likewise
	NICs        NICs         // nil: no sandbox has one
	Step        func(string) // told at every step after which a crash must leave nothing behind
}

// Set is all that the sandboxes of one engine own. Its methods may be called from many goroutines, in the namespace's context.
type Set struct {
	cfg     Config
	bundles bundles
	server  server

	// The kinds, in the order in which they are made. They are removed in the opposite order.
	ofContainer []kind // from when the container is made until it was deleted
	ofTask      []kind // what containerd, the shim and runsc make for a task, and leave when they are killed
}

// New lists the kinds.
func New(cfg Config) *Set {
	s := &Set{cfg: cfg}
	s.ofContainer = []kind{s.files(), s.snapshot()}
	if cfg.NICs != nil {
		s.ofContainer = append(s.ofContainer, s.nic())
	}
	s.ofTask = []kind{s.bundle(), s.runscFiles(), s.cgroups()}
	return s
}

// Make makes what the task of a new container needs.
func (s *Set) Make(ctx context.Context, spec *Spec) error {
	for _, k := range s.ofContainer {
		if err := k.make(ctx, spec); err != nil {
			return fmt.Errorf("make %s: %w", k.name, err)
		}
	}
	return nil
}

// Renew makes what there is fit for another task of the same container.
func (s *Set) Renew(ctx context.Context, spec *Spec) error {
	for _, k := range s.ofContainer {
		if k.renew == nil {
			continue
		}
		if err := k.renew(ctx, spec); err != nil {
			return fmt.Errorf("renew %s: %w", k.name, err)
		}
	}
	return nil
}

// RemoveOfTask removes what a task left whose processes have all ended.
func (s *Set) RemoveOfTask(ctx context.Context, id string) error { return remove(ctx, id, s.ofTask) }

// RemoveOfContainer removes what a container left that was deleted.
func (s *Set) RemoveOfContainer(ctx context.Context, id string) error {
	return remove(ctx, id, s.ofContainer)
}

// remove removes as much as it can.
func remove(ctx context.Context, id string, kinds []kind) error {
	var errs []error
	for _, k := range slices.Backward(kinds) {
		if err := k.remove(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", k.name, err))
		}
	}
	return errors.Join(errs...)
}

// Owners returns the names of the kinds that there are of each sandbox. What does not show whose it is is left out.
func (s *Set) Owners(ctx context.Context) (map[string][]string, error) {
	owned := map[string][]string{}
	for _, k := range slices.Concat(s.ofContainer, s.ofTask) {
		if k.owners == nil {
			continue
		}
		ids, err := k.owners(ctx)
		if err != nil {
			return nil, fmt.Errorf("list every %s: %w", k.name, err)
		}
		for _, id := range ids {
			if !slices.Contains(owned[id], k.name) {
				owned[id] = append(owned[id], k.name)
			}
		}
	}
	return owned, nil
}

// anyID finds a sandbox's id in the name of a thing.
var anyID = regexp.MustCompile(`sb-[a-z2-7]{16}`)
