package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Pack writes what a folder has under a name as a tar stream, in which it is called as; "." stands for a folder's content. Modes, owners,
// times, links and holes are kept. Sockets, devices and what is in /proc
// and /sys are left out of it, and so is what goes away meanwhile.
func Pack(w io.Writer, folder *os.File, name, as string) error {
	p := packer{w: w, links: map[inode]string{}, buf: make([]byte, copyBuffer)}
	if err := p.add(folder, name, as); err != nil {
		if p.begun { // who unpacks is to know why there is no more
			_, _ = w.Write(failure(err))
		}
		return err
	}
	if !p.begun {
		return fmt.Errorf("pack %q: it is a device or a socket: %w", as, unix.EINVAL)
	}
	return p.write(zeros[:2*blockSize])
}

// errorKey is of the record that says why a stream has no end.
const errorKey = "SANDPOOL.error"

// failure is a header that says so. Others who read the stream pass over it.
func failure(err error) []byte {
	text := record(errorKey, err.Error())
	e := entry{kind: tar.TypeXGlobalHeader, mode: 0o644, size: int64(len(text))}
	return append(append(e.block("error"), text...), make([]byte, padding(int64(len(text))))...)
}

// write writes a part of the stream.
func (p *packer) write(b []byte) error {
	p.begun = true
	_, err := p.w.Write(b)
	return err
}

// inode tells files apart.
type inode struct{ device, number uint64 }

type packer struct {
	w      io.Writer
	begun  bool
	inside bool             // of the first folder
	links  map[inode]string // files of several names, by the first that was packed
	buf    []byte
}

// add packs one name, and all that is in it.
func (p *packer) add(folder *os.File, name, as string) error {
	st, err := StatAt(folder, name)
	if err != nil {
		return fmt.Errorf("pack %q: %w", as, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return p.folder(folder, name, as)
	case unix.S_IFREG:
		err = p.plain(folder, name, as, &st)
	case unix.S_IFLNK:
		e := entryOf(as, tar.TypeSymlink, &st)
		if e.link, err = Link(folder, name); err == nil {
			err = p.write(e.encode())
		}
	case unix.S_IFIFO:
		err = p.write(entryOf(as, tar.TypeFifo, &st).encode())
	}
	if err != nil {
		return fmt.Errorf("pack %q: %w", as, err)
	}
	return nil
}

func (p *packer) folder(in *os.File, name, as string) error {
	folder, err := OpenInner(in, name)
	if err != nil {
		return fmt.Errorf("pack %q: %w", as, err)
	}
	defer func() { _ = folder.Close() }()
	var st unix.Stat_t
	err = unix.Fstat(int(folder.Fd()), &st)
	if err == nil {
		err = p.write(entryOf(as+"/", tar.TypeDir, &st).encode())
	}
	var names []string
	if err == nil && (!p.inside || !madeUp(folder)) {
		names, err = Names(folder)
	}
	p.inside = true
	if err != nil {
		return fmt.Errorf("pack %q: %w", as, err)
	}
	for _, n := range names {
		if err := p.add(folder, n, path.Join(as, n)); err != nil && !p.gone(folder, n) {
			return err
		}
	}
	return nil
}

// madeUp tells whether a kernel makes up what is in a folder, as in /proc. That is packed only if it is named itself.
func madeUp(folder *os.File) bool {
	var fs unix.Statfs_t
	err := unix.Fstatfs(int(folder.Fd()), &fs)
	return err == nil && (fs.Type == unix.PROC_SUPER_MAGIC || fs.Type == unix.SYSFS_MAGIC)
}

// gone tells whether a name is not there any more. What was packed of it by then is whole: only a look finds nothing.
func (p *packer) gone(folder *os.File, name string) bool {
	_, err := StatAt(folder, name)
	return errors.Is(err, unix.ENOENT)
}

// plain packs a plain file, or the link to it that it is when another of its names was packed before.
func (p *packer) plain(folder *os.File, name, as string, st *unix.Stat_t) error {
	if first, known := p.links[inode{st.Dev, st.Ino}]; known && st.Nlink > 1 {
		e := entryOf(as, tar.TypeLink, st)
		e.link = first
		return p.write(e.encode())
	}
	file, now, err := OpenPlain(folder, name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if now.Nlink > 1 {
		p.links[inode{now.Dev, now.Ino}] = as
	}
	e := entryOf(as, tar.TypeReg, &now)
	parts, err := extents(file, now.Size)
	if err != nil {
		return err
	}
	var head []byte
	if parts == nil {
		parts = []extent{{0, now.Size}}
	} else {
		e.sparse, e.realSize, head = true, now.Size, sparseMap(parts)
	}
	e.size = int64(len(head))
	for _, part := range parts {
		e.size += part.length
	}
	if err := p.write(append(e.encode(), head...)); err != nil {
		return err
	}
	return p.content(file, parts, padding(e.size))
}

// content writes parts of a file, and zeros behind them.
func (p *packer) content(file *os.File, parts []extent, pad int64) error {
	for _, part := range parts {
		for at, end := part.offset, part.offset+part.length; at < end; {
			n, err := file.ReadAt(p.buf[:min(int64(len(p.buf)), end-at)], at)
			if n == 0 && err != nil {
				return shrunk(err)
			}
			if err := p.write(p.buf[:n]); err != nil {
				return err
			}
			at += int64(n)
		}
	}
	return p.write(zeros[:pad])
}
