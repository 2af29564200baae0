package images

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Layer returns the folders, plain files and links under root as a layer. All belong to the superuser, and only their
// permissions are kept, so that the same files give the same layer wherever they were unpacked.
func Layer(root string) ([]byte, error) {
	var buf bytes.Buffer
	t := newTree(&buf)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return t.copy(name, path, entry)
	})
	if err == nil {
		err = t.close()
	}
	if err != nil {
		return nil, fmt.Errorf("make layer of %s: %w", root, err)
	}
	return buf.Bytes(), nil
}

// copy adds the file at path under the name.
func (t *tree) copy(name, path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	mode := int64(info.Mode().Perm())
	switch entry.Type() {
	case fs.ModeDir:
		t.dir(name, mode, 0)
	case fs.ModeSymlink:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		t.link(name, target)
	case 0:
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		t.file(name, mode, content)
	default:
		return fmt.Errorf("%s is no folder, plain file or link", path)
	}
	return t.err
}
