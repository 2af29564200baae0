package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"sandpool/runtime/atomicfile"
)

// listFiles hashes the files in dir and brings them to disk.
func listFiles(ctx context.Context, dir string) (files []File, total int64, _ error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, err
	}
	for _, entry := range entries {
		if cause := context.Cause(ctx); cause != nil {
			return nil, 0, cause
		}
		path := filepath.Join(dir, entry.Name())
		if !entry.Type().IsRegular() {
			return nil, 0, fmt.Errorf("%s is no regular file", path)
		}
		bytes, sum, err := hashFile(path)
		if err != nil {
			return nil, 0, err
		}
		if err := atomicfile.Sync(path); err != nil {
			return nil, 0, err
		}
		files = append(files, File{Name: entry.Name(), Bytes: bytes, SHA256: sum})
		total += bytes
	}
	return files, total, nil
}

func hashFile(path string) (bytes int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if bytes, err = io.Copy(h, f); err != nil {
		return 0, "", err
	}
	return bytes, hex.EncodeToString(h.Sum(nil)), nil
}

// stamp tells whether a file is the one that was looked at before.
type stamp struct {
	bytes    int64
	modified time.Time
}

// verify compares the files in dir with their list. Those that verified knows by their stamps are not read again.
func verify(dir string, files []File, verified map[string]stamp) error {
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			return damaged(path, "it is missing")
		}
		if err != nil {
			return err
		}
		now := stamp{bytes: info.Size(), modified: info.ModTime()}
		if now.bytes != f.Bytes {
			return damaged(path, fmt.Sprintf("it has %d bytes, want %d", now.bytes, f.Bytes))
		}
		if verified[f.Name] == now {
			continue
		}
		_, sum, err := hashFile(path)
		if err != nil {
			return err
		}
		if sum != f.SHA256 {
			return damaged(path, fmt.Sprintf("its SHA-256 is %s, want %s", sum, f.SHA256))
		}
		verified[f.Name] = now
	}
	return nil
}

func damaged(path, how string) error {
	return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("file %s of the checkpoint is damaged: %s: delete the checkpoint", path, how))
}

// classify makes it an error of class ResourceExhausted that the disk is full, also when another program says so.
func classify(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || strings.Contains(err.Error(), unix.ENOSPC.Error()) {
		return fmt.Errorf("the disk is full: delete checkpoints or make room: %w: %w", errdefs.ErrResourceExhausted, err)
	}
	return err
}
