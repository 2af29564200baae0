package resource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// NICs makes and removes network interfaces of sandboxes. See nic.Host.
type NICs interface {
	// Wanted tells whether a sandbox with these labels has one.
	Wanted(labels map[string]string) bool
	Make(sandbox string) (namespace string, err error)
	Remove(sandbox string) error
	Owners() ([]string, error)
}

// NIC is where a sandbox with these labels finds the network namespace of its interface; empty if it has none.
func (s *Set) NIC(id string, labels map[string]string) string {
	if s.cfg.NICs == nil || !s.cfg.NICs.Wanted(labels) {
		return ""
	}
	return filepath.Join(s.cfg.FilesDir, id+".netns")
}

// nic is a sandbox's network interface. The link that leads to its namespace is one of the sandbox's files; a namespace ends with its processes, so another
// task needs another.
func (s *Set) nic() kind {
	make := func(_ context.Context, spec *Spec) error {
		if spec.NIC == "" {
			return nil
		}
		namespace, err := s.cfg.NICs.Make(spec.ID)
		if err != nil {
			return err
		}
		if err := os.Remove(spec.NIC); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replace the link to the namespace: %w", err)
		}
		if err := os.Symlink(namespace, spec.NIC); err != nil {
			return fmt.Errorf("link to the namespace: %w", err)
		}
		return nil
	}
	return kind{
		name:   "interface",
		make:   make,
		renew:  make,
		remove: func(_ context.Context, id string) error { return s.cfg.NICs.Remove(id) },
		owners: func(context.Context) ([]string, error) { return s.cfg.NICs.Owners() },
	}
}
