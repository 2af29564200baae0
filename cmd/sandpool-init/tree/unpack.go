package tree

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what is kept of a tar stream that is unpacked.
type Options struct {
	Root    string // the one name that it may have at its top; empty: any
	Owners  bool   // as numbers; else all belongs to who unpacks
	Special bool   // set-user-id and set-group-id bits
}

// Unpack makes what a tar stream has in a folder. A file appears under its name when it is whole. Folders that are there keep their own
// mode and time. A name that leads out of the folder, also by a link in it, is an error; and so is a device.
func Unpack(r io.Reader, folder *os.File, o Options) error {
	u := &unpacker{Options: o, root: folder}
	defer u.leave()
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return u.settle()
		}
		if err != nil {
			return fmt.Errorf("read tar stream: %w", streamError(err))
		}
		if why, failed := h.PAXRecords[errorKey]; failed && h.Typeflag == tar.TypeXGlobalHeader {
			return errors.New(why)
		}
		if err := u.entry(h, in); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
}

// streamError gives what is wrong with a stream itself a class: an error of who sends it.
func streamError(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", err, unix.EINVAL)
	}
	return err
}

type unpacker struct {
	Options

	root   *os.File
	path   string   // of the folder that was the last
	folder *os.File // open at path, unless that is empty
	made   []madeFolder
}

// madeFolder is a folder that is to get its mode and time when nothing more comes into it.
type madeFolder struct {
	path   string
	header *tar.Header
}

func (u *unpacker) leave() {
	if u.folder != nil {
		_ = u.folder.Close()
		u.folder = nil
	}
}

// parts are the names on the way to what a header names, none for the folder itself.
func (u *unpacker) parts(name string) ([]string, error) {
	parts := slices.DeleteFunc(strings.Split(name, "/"), func(p string) bool { return p == "" || p == "." })
	if slices.Contains(parts, "..") {
		return nil, fmt.Errorf("the name has .. in it: %w", unix.EINVAL)
	}
	if u.Root != "" && u.Root != "." && len(parts) > 0 && parts[0] != u.Root {
		return nil, fmt.Errorf("want names in %q only: %w", u.Root, unix.EINVAL)
	}
	return parts, nil
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	parts, err := u.parts(h.Name)
	if err != nil || len(parts) == 0 {
		return err
	}
	last := len(parts) - 1
	folder, err := u.open(parts[:last])
	if err != nil {
		return err
	}
	name := parts[last]
	switch h.Typeflag {
	case tar.TypeDir:
		return u.makeFolder(folder, name, h, strings.Join(parts, "/"))
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.replace(folder, name, h, func(temporary string) error { return u.plain(folder, temporary, h, content) })
	case tar.TypeSymlink:
		return u.replace(folder, name, h, func(temporary string) error { return unix.Symlinkat(h.Linkname, int(folder.Fd()), temporary) })
	case tar.TypeFifo:
		return u.replace(folder, name, h, func(temporary string) error {
			return unix.Mknodat(int(folder.Fd()), temporary, unix.S_IFIFO|u.mode(h), 0)
		})
	case tar.TypeLink:
		return u.link(folder, name, h)
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return fmt.Errorf("a device or a kind of file that is not known: %w", unix.EINVAL)
	}
}

// open returns the folder at the end of some names, which it makes if need be. It stays open until the next one is asked for.
func (u *unpacker) open(parts []string) (*os.File, error) {
	joined := strings.Join(parts, "/")
	if len(parts) == 0 {
		return u.root, nil
	}
	if u.folder != nil && joined == u.path {
		return u.folder, nil
	}
	u.leave()
	at := u.root
	for _, p := range parts {
		next, err := step(at, p)
		if at != u.root {
			_ = at.Close()
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	u.folder, u.path = at, joined
	return at, nil
}

// step opens a folder in a folder, and makes it if there is none. A link to one is an error.
func step(at *os.File, name string) (*os.File, error) {
	next, err := OpenInner(at, name)
	if errors.Is(err, unix.ENOENT) {
		if err := unix.Mkdirat(int(at.Fd()), name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, err
		}
		next, err = OpenInner(at, name)
	}
	if errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("%q is a file or a link, which is not followed: %w", name, unix.ENOTDIR)
	}
	return next, err
}

// makeFolder makes a folder that only who unpacks may use until all is in it.
func (u *unpacker) makeFolder(in *os.File, name string, h *tar.Header, joined string) error {
	err := unix.Mkdirat(int(in.Fd()), name, 0o700)
	if errors.Is(err, unix.EEXIST) {
		there, err := step(in, name)
		if err == nil {
			err = there.Close()
		}
		return err
	}
	if err == nil {
		u.made = append(u.made, madeFolder{joined, h})
	}
	return err
}

// settle gives the folders that were made what their headers say, the last one first: inner ones come behind theirs.
func (u *unpacker) settle() error {
	for _, m := range slices.Backward(u.made) {
		parts := strings.Split(m.path, "/")
		last := len(parts) - 1
		folder, err := u.open(parts[:last])
		if err == nil {
			err = u.settleFolder(folder, parts[last], m.header)
		}
		if err != nil {
			return fmt.Errorf("unpack %q: %w", m.path, err)
		}
	}
	return nil
}

func (u *unpacker) settleFolder(in *os.File, name string, h *tar.Header) error {
	folder, err := OpenInner(in, name)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	if err := u.dress(folder, h); err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(in.Fd()), name, times(h), unix.AT_SYMLINK_NOFOLLOW)
}

func (u *unpacker) mode(h *tar.Header) uint32 {
	bits := uint32(h.Mode) & 0o7777 //nolint:gosec // only these count
	if !u.Special {
		bits &^= unix.S_ISUID | unix.S_ISGID
	}
	return bits
}

func times(h *tar.Header) []unix.Timespec {
	at := h.ModTime
	if at.IsZero() {
		at = time.Now()
	}
	t := unix.Timespec{Sec: at.Unix(), Nsec: int64(at.Nanosecond())}
	return []unix.Timespec{t, t}
}

// replace makes a file under a name of its own, and gives it the right one when it is whole.
func (u *unpacker) replace(folder *os.File, name string, h *tar.Header, make func(temporary string) error) error {
	temporary := Temporary()
	err := make(temporary)
	dir := int(folder.Fd())
	if err == nil && u.Owners && h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
		err = unix.Fchownat(dir, temporary, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.UtimesNanoAt(dir, temporary, times(h), unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.Renameat(dir, temporary, dir, name)
	}
	if err != nil {
		_ = unix.Unlinkat(dir, temporary, 0)
	}
	return err
}

// dress gives what was made its owner and mode, by its descriptor: another program may have put something else in its place.
func (u *unpacker) dress(file *os.File, h *tar.Header) error {
	if u.Owners {
		if err := file.Chown(h.Uid, h.Gid); err != nil {
			return errnoOf(err)
		}
	}
	return unix.Fchmod(int(file.Fd()), u.mode(h))
}

func (u *unpacker) plain(folder *os.File, name string, h *tar.Header, content io.Reader) error {
	fd, err := openAt(int(folder.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), name)
	if isSparse(h) {
		if err = unix.Ftruncate(fd, h.Size); err == nil { // a size that cannot be is known at once
			_, err = WriteHoles(file, content, 0)
		}
	} else {
		_, err = io.CopyBuffer(struct{ io.Writer }{file}, content, make([]byte, copyBuffer))
	}
	if err == nil {
		err = u.dress(file, h)
	}
	return errors.Join(errnoOf(streamError(err)), file.Close())
}

func isSparse(h *tar.Header) bool {
	_, major := h.PAXRecords["GNU.sparse.major"]
	_, realSize := h.PAXRecords["GNU.sparse.size"]
	return h.Typeflag == tar.TypeGNUSparse || major || realSize
}

// link makes another name of a file that was unpacked before.
func (u *unpacker) link(folder *os.File, name string, h *tar.Header) error {
	parts, err := u.parts(h.Linkname)
	if err != nil || len(parts) == 0 {
		return errors.Join(err, unix.EINVAL)
	}
	own, err := unix.Dup(int(folder.Fd())) // open closes it
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(own) }()
	last := len(parts) - 1
	other, err := u.open(parts[:last])
	if err != nil {
		return err
	}
	temporary := Temporary()
	if err = unix.Linkat(int(other.Fd()), parts[last], own, temporary, 0); err == nil {
		err = unix.Renameat(own, temporary, own, name)
		_ = unix.Unlinkat(own, temporary, 0) // a rename of two names of one file leaves both
	}
	return err
}

// temporaryPrefix begins the names of files that are not whole.
const temporaryPrefix = ".sandpool-"

// Temporary is a name for a file that is not whole. Nobody can guess it.
func Temporary() string {
	var random [8]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		panic(err) // no kernel of ours has none
	}
	return temporaryPrefix + strconv.FormatUint(binary.NativeEndian.Uint64(random[:]), 16)
}

// errnoOf takes the path off an error: who reports it names the file.
func errnoOf(err error) error {
	if wrapped, ok := errors.AsType[*os.PathError](err); ok {
		return wrapped.Err
	}
	return err
}

// Base is the name that a path's end has in a tar stream.
func Base(name string) string {
	if base := path.Base(name); base != "/" && base != ".." {
		return base
	}
	return "."
}
