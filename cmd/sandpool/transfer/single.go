package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"sandpool/cmd/sandpool-init/tree"
	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

const (
	// largeFile is the size in bytes from which on a copy that broke off goes on where it was.
	largeFile = 8 << 20
	// firstPause and longestPause are between two attempts to go on.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// allocated is how many bytes a file has on disk.
func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

// partName is the name of a copy that is not whole. What is copied, as it is now, decides it: a copy of something else does not go on from there.
func partName(what ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", what))
	return ".sandpool-part-" + hex.EncodeToString(sum[:8])
}

// upload copies a plain file into a sandbox, where it appears when it is whole.
func (c *Copier) upload(ctx context.Context, from Place, to target) error {
	file, err := os.Open(from.Path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	mode := uint32(info.Mode().Perm())
	o := client.WriteOptions{Mode: &mode, Time: info.ModTime()}
	link := false
	if to.old != nil {
		now, err := c.files(to.Place).Stat(ctx, to.path(), false)
		link = err == nil && now.Kind == wire.KindLink
	}
	c.Bar.begin(to.name, info.Size())
	if info.Size() < largeFile || link { // behind a link it is not known where the parts could be
		o.Size = info.Size()
		_, err := c.files(to.Place).Write(ctx, to.path(), c.Bar.reader(io.LimitReader(file, info.Size()), 0), o)
		return errors.Join(err, changed(file, info))
	}
	return c.uploadLarge(ctx, file, info, to, o)
}

// changed is an error if a file of this host is not as it was.
func changed(file *os.File, was fs.FileInfo) error {
	now, err := file.Stat()
	if err == nil && (now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime())) {
		err = fmt.Errorf("%s was changed while it was copied: copy it again", file.Name())
	}
	return err
}

// uploadLarge writes to a file of another name, to which it adds after a break, and gives that the right name.
func (c *Copier) uploadLarge(ctx context.Context, file *os.File, info fs.FileInfo, to target, o client.WriteOptions) error {
	here, err := filepath.Abs(file.Name())
	if err != nil {
		return err
	}
	part := to
	part.name = partName(here, strconv.FormatInt(info.Size(), 10), info.ModTime().String(), to.name)
	files := c.files(to.Place)
	var written wire.File
	err = c.persist(ctx, func() (int64, error) {
		at := int64(0)
		now, err := c.look(ctx, Place{to.Claim, part.path()}, false)
		if err != nil {
			return 0, err
		}
		if now != nil {
			at = now.Size
		}
		if at > info.Size() {
			return at, fmt.Errorf("%s is longer than what is copied: remove it", part.path())
		}
		if _, err := file.Seek(at, io.SeekStart); err != nil {
			return at, err
		}
		o := o
		o.Append, o.Offset, o.Size = true, &at, info.Size()-at
		written, err = files.Write(ctx, part.path(), c.Bar.reader(io.LimitReader(file, info.Size()-at), at), o)
		if answer, ok := errors.AsType[*wire.Error](err); ok && answer.Code == wire.CodeConflict {
			err = fmt.Errorf("%w: %w", err, syscall.EPIPE) // what was on its way before a break was written since
		}
		return at, err
	})
	if err == nil {
		err = changed(file, info)
	}
	if err == nil && written.Size != info.Size() {
		err = fmt.Errorf("%s has %d bytes instead of %d: something else wrote to it", part.path(), written.Size, info.Size())
	}
	if err == nil && to.old != nil && (to.old.UID != written.UID || to.old.GID != written.GID) {
		_, err = files.Chown(ctx, part.path(), fmt.Sprintf("%d:%d", to.old.UID, to.old.GID))
	}
	if err == nil {
		_, err = files.Move(ctx, part.path(), to.path())
	}
	if err != nil && !passing(err) && context.Cause(ctx) == nil {
		_ = files.Remove(ctx, part.path(), false)
		return err
	}
	return unfinished(err)
}

// unfinished says how a copy of a large file goes on that did not come to its end.
func unfinished(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the copy broke off, and the same command goes on where it was: %w", err)
}

// download copies a plain file out of a sandbox.
func (c *Copier) download(ctx context.Context, from Place, to target, source wire.File) error {
	if to.old != nil && to.old.Kind != wire.KindFile { // such as a terminal or /dev/null
		return c.downloadInto(ctx, from, to.path())
	}
	path := to.path()
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	part := filepath.Join(filepath.Dir(path), partName(from.Claim, from.Path, source.ETag, filepath.Base(path)))
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	c.Bar.begin(to.name, source.Size)
	err = c.persist(ctx, func() (int64, error) { return c.continueDownload(ctx, from, file, source) })
	if err == nil {
		err = c.dress(file, source)
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil && source.Size >= largeFile && (passing(err) || context.Cause(ctx) != nil) {
		return unfinished(err)
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return err
}

// continueDownload reads on from where a part ends.
func (c *Copier) continueDownload(ctx context.Context, from Place, file *os.File, source wire.File) (at int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if at = info.Size(); at >= source.Size && source.Size > 0 {
		return at, nil
	}
	content, _, err := c.files(from).Read(ctx, from.Path, at, source.ETag)
	if err != nil {
		return at, err
	}
	defer content.Close() //nolint:errcheck // it was only read
	n, err := tree.WriteHoles(file, c.Bar.reader(content, at), at)
	if err == nil && source.Size > 0 && at+n != source.Size {
		err = io.ErrUnexpectedEOF
	}
	return at, err
}

// dress gives a file of this host the mode and time of one in a sandbox.
func (c *Copier) dress(file *os.File, source wire.File) error {
	bits, err := strconv.ParseUint(source.Mode, 8, 12)
	if err != nil {
		return fmt.Errorf("mode %q: %w", source.Mode, err)
	}
	mode := fs.FileMode(bits & 0o777)
	if c.Owners {
		if err := file.Chown(int(source.UID), int(source.GID)); err != nil {
			return err
		}
		for bit, special := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
			if bits&bit != 0 {
				mode |= special
			}
		}
	}
	return errors.Join(file.Chmod(mode), os.Chtimes(file.Name(), time.Time{}, source.ModifiedAt))
}

// downloadInto writes to what is no plain file.
func (c *Copier) downloadInto(ctx context.Context, from Place, path string) error {
	content, _, err := c.files(from).Read(ctx, from.Path, 0, "")
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // it was only read
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, c.Bar.reader(content, 0))
	return errors.Join(broken(err), file.Close())
}

// persist tries again what broke off by itself, for as long as that gets further every now and then. An attempt returns where it began.
func (c *Copier) persist(ctx context.Context, attempt func() (at int64, err error)) error {
	furthest, since, pause := int64(-1), time.Now(), firstPause
	for {
		at, err := attempt()
		if err == nil || !passing(err) || context.Cause(ctx) != nil {
			return err
		}
		if at > furthest {
			furthest, since, pause = at, time.Now(), firstPause
		}
		if time.Since(since) > c.Patient {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause = min(2*pause, longestPause)
	}
}

// passing tells whether an error may be over soon: the daemon is away, or was started again.
func passing(err error) bool {
	if errors.Is(err, syscall.EPIPE) {
		return true
	}
	if answer, ok := errors.AsType[*wire.Error](err); ok {
		return answer.Code == wire.CodeUnavailable || answer.Code == wire.CodeTimeout
	}
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*client.UnreachableError](err); ok {
		return true
	}
	_, fromNet := errors.AsType[net.Error](err)
	return fromNet || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}
