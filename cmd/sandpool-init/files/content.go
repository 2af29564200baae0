package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool-init/tree"
)

// bufferSize is how much content is carried at a time, in bytes.
const bufferSize = 256 << 10

// read writes a file's line, reads from where on its content is wanted, and writes that. Input that ends asks for nothing.
func read(c call) error {
	file, st, err := openPlain(c.args["path"], os.O_RDONLY, 0)
	if err != nil {
		return about("read", c.args["path"], err)
	}
	defer func() { _ = file.Close() }()
	err = c.tell(c.args["path"], &st, "")
	if err == nil {
		err = c.out.Flush()
	}
	if err != nil {
		return err
	}
	line, err := c.in.ReadString('\n')
	if errors.Is(err, io.EOF) {
		return nil
	}
	offset, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		return errUsage
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return about("read", c.args["path"], err)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{c.out}, struct{ io.Reader }{file}, make([]byte, bufferSize))
	return about("read", c.args["path"], err)
}

// openPlain opens a plain file. Links are followed, pipes are not waited for.
func openPlain(path string, flags int, mode os.FileMode) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	file, err := os.OpenFile(path, flags|unix.O_NONBLOCK, mode)
	if errors.Is(err, unix.ENXIO) {
		return nil, st, notPlain(unix.S_IFIFO)
	}
	if err != nil {
		return nil, st, err
	}
	if err = unix.Fstat(int(file.Fd()), &st); err == nil {
		err = notPlain(st.Mode)
	}
	if err != nil {
		_ = file.Close()
		return nil, st, err
	}
	return file, st, nil
}

// notPlain says of what is no plain file what it is, and is nil for one.
func notPlain(mode uint32) error {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFDIR:
		return unix.EISDIR
	case unix.S_IFIFO:
		return invalid("it is a pipe, and not a plain file")
	default:
		return invalid("it is a device or a socket, and not a plain file")
	}
}

// write puts the content that its input has in place of a file's, all at once: until it is whole, the old file stays.
func write(c call) error {
	p, err := c.find("path", true)
	if err != nil {
		return err
	}
	defer p.close()
	return about("write", p.path, c.replace(p))
}

func (c call) replace(p place) error {
	mode, keep, err := c.look(p)
	if err != nil {
		return err
	}
	temporary := tree.Temporary()
	fd, err := unix.Openat(p.fd(), temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), p.path)
	err = keep(file)
	if err == nil {
		err = c.receive(file)
	}
	if err == nil {
		err = unix.Fchmod(fd, mode)
	}
	err = errors.Join(bare(err), bare(file.Close()))
	if err == nil {
		err = c.setTime(p.fd(), temporary, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.Renameat(p.fd(), temporary, p.fd(), p.name)
	}
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("something is mounted there: write it in place: %w", err)
	}
	if err != nil {
		_ = unix.Unlinkat(p.fd(), temporary, 0)
		return err
	}
	return c.tellOf(p.folder, p.name, p.path)
}

// look tells what mode a file is to have, and how its owner is kept. It refuses what the user may not write.
func (c call) look(p place) (mode uint32, keep func(*os.File) error, err error) {
	asked, err := c.number("mode", 8, -1)
	if err != nil || asked > 0o7777 {
		return 0, nil, errors.Join(err, invalidMode(asked))
	}
	keep = func(*os.File) error { return nil }
	st, err := tree.StatAt(p.folder, p.name)
	switch {
	case errors.Is(err, unix.ENOENT):
		mode, err = 0o644, nil
	case err == nil:
		if err = notPlain(st.Mode); err == nil {
			err = unix.Faccessat(p.fd(), p.name, unix.W_OK, unix.AT_EACCESS)
		}
		mode = st.Mode & 0o7777
		keep = func(file *os.File) error { return keepOwner(file, &st) }
	}
	if asked >= 0 {
		mode = uint32(asked)
	}
	return mode, keep, err
}

func invalidMode(mode int64) error {
	if mode <= 0o7777 {
		return nil
	}
	return invalid("mode: want at most 7777")
}

func keepOwner(file *os.File, st *unix.Stat_t) error {
	var own unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &own); err != nil || own.Uid == st.Uid && own.Gid == st.Gid {
		return err
	}
	if err := file.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("its owner could not be kept: write it in place: %w", bare(err))
	}
	return nil
}

// setTime sets a file's time if one was asked for, in nanoseconds.
func (c call) setTime(folder int, name string, flags int) error {
	text, given := c.args["mtime"]
	if !given {
		return nil
	}
	ns, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return invalid("mtime: %q is no number", text)
	}
	at := unix.NsecToTimespec(ns)
	return unix.UtimesNanoAt(folder, name, []unix.Timespec{at, at}, flags)
}

// overwrite writes into a file as it is. One that is cut off is left as far as it came.
func overwrite(c call) error { return c.writeInto(os.O_TRUNC) }

// appendTo adds to a file. With an offset the file must have just that size: who goes on with a copy that broke off knows it.
func appendTo(c call) error { return c.writeInto(os.O_APPEND) }

func (c call) writeInto(flag int) error {
	path := c.args["path"]
	mode, err := c.number("mode", 8, 0o644)
	if err == nil {
		err = invalidMode(mode)
	}
	offset, err2 := c.number("offset", 10, -1)
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	file, st, err := openPlain(path, os.O_WRONLY|os.O_CREATE|flag, os.FileMode(mode)) //nolint:gosec // bounded above
	if err == nil && offset >= 0 && offset != st.Size {
		err = errors.Join(fmt.Errorf("it has %d bytes, and not %d: %w", st.Size, offset, unix.ESTALE), file.Close())
	}
	if err != nil {
		return about("write", path, err)
	}
	err = c.receive(file)
	if _, given := c.args["mode"]; err == nil && given {
		err = unix.Fchmod(int(file.Fd()), uint32(mode)) //nolint:gosec // bounded above
	}
	if err == nil {
		err = c.setTime(unix.AT_FDCWD, path, 0)
	}
	if err == nil {
		err = unix.Fstat(int(file.Fd()), &st)
	}
	if err = errors.Join(bare(err), bare(file.Close())); err != nil {
		return about("write", path, err)
	}
	return c.tell(path, &st, "")
}

// receive writes what its input has in pieces: four bytes of length each, and one of none when all has come. It first says that it is ready.
func (c call) receive(to io.Writer) error {
	in, err := c.pieces()
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, in, make([]byte, bufferSize))
	return err
}

// pieces says that its input is wanted, and returns what is in it. Input that ends without saying so is cut off.
func (c call) pieces() (io.Reader, error) {
	return &pieces{from: c.in}, c.say("+")
}

type pieces struct {
	from io.Reader
	left uint32 // of the piece that is read
	done bool
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.left == 0 && !p.done {
		var head [4]byte
		if _, err := io.ReadFull(p.from, head[:]); err != nil {
			return 0, cutOff()
		}
		p.left = binary.BigEndian.Uint32(head[:])
		p.done = p.left == 0
	}
	if p.done {
		return 0, io.EOF
	}
	n, err := io.ReadFull(p.from, b[:min(len(b), int(p.left))])
	p.left -= uint32(n) //nolint:gosec // no more than was left
	if err != nil {
		return n, cutOff()
	}
	return n, nil
}

func cutOff() error { return fmt.Errorf("the content was cut off: %w", unix.ECONNRESET) }
