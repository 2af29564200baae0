package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool-init/tree"
	"sandpool/cmd/sandpool-init/users"
)

// stat writes the line of a file, or with follow of that to which it leads.
func stat(c call) error {
	p, err := c.find("path", c.is("follow"))
	if err != nil {
		return err
	}
	defer p.close()
	return about("look at", p.path, c.tellOf(p.folder, p.name, p.path))
}

// list writes the lines of what is in a folder, as deep as is asked for, each folder before what is in it.
func list(c call) error {
	depth, err := c.number("depth", 10, 1)
	if err != nil {
		return err
	}
	folder, err := tree.OpenFolder(c.args["path"])
	if err != nil {
		return about("list", c.args["path"], err)
	}
	defer func() { _ = folder.Close() }()
	return c.listFolder(folder, "", depth)
}

// listFolder lists a folder, which is above at. A depth of 0 has no end.
func (c call) listFolder(folder *os.File, above string, depth int64) error {
	names, err := tree.Names(folder)
	if err != nil {
		return about("list", path.Join(c.args["path"], above), err)
	}
	for _, name := range names {
		full := path.Join(above, name)
		err := c.tellOf(folder, name, full)
		if errors.Is(err, unix.ENOENT) {
			continue // it went away meanwhile
		}
		if err != nil {
			return about("list", path.Join(c.args["path"], full), err)
		}
		if depth == 1 {
			continue
		}
		inner, err := openInner(folder, name)
		if err != nil || inner == nil {
			continue // no folder any more, or one that this user may not read: its own line is there
		}
		err = c.listFolder(inner, full, depth-1)
		_ = inner.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// openInner opens a folder in a folder, and is nil for what is none.
func openInner(folder *os.File, name string) (*os.File, error) {
	inner, err := tree.OpenInner(folder, name)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return inner, err
}

// mkdir makes a folder, with parents also those above it. One that is there is an error without parents.
func mkdir(c call) error {
	target := c.args["path"]
	mode, err := c.number("mode", 8, 0o755)
	if err == nil {
		err = invalidMode(mode)
	}
	if err != nil {
		return err
	}
	if c.is("parents") {
		err = os.MkdirAll(target, os.FileMode(mode)) //nolint:gosec // bounded above
	} else {
		err = unix.Mkdir(target, uint32(mode)) //nolint:gosec // bounded above
	}
	if err != nil {
		return about("make folder", target, err)
	}
	return stat(c)
}

// move gives a file another name. What has that name is replaced, as by rename(2).
func move(c call) error {
	from, to := c.args["path"], c.args["to"]
	err := unix.Rename(from, to)
	if errors.Is(err, unix.EXDEV) {
		err = fmt.Errorf("they are on two file systems: copy it instead: %w", err)
	}
	if err != nil {
		return fmt.Errorf("move %q to %q: %w", from, to, err)
	}
	c.args["path"] = to
	return stat(c)
}

// remove removes a file, a link or an empty folder; with recursive a folder with all that is in it.
func remove(c call) error {
	p, err := c.find("path", false)
	if err != nil {
		return err
	}
	defer p.close()
	if p.name == "." {
		return invalid("remove %q: name it by its last folder", p.path)
	}
	return about("remove", p.path, unlink(p.folder, p.name, c.is("recursive")))
}

func unlink(folder *os.File, name string, recursive bool) error {
	st, err := tree.StatAt(folder, name)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.Unlinkat(int(folder.Fd()), name, 0)
	}
	if recursive {
		if err := empty(folder, name); err != nil {
			return err
		}
	}
	return unix.Unlinkat(int(folder.Fd()), name, unix.AT_REMOVEDIR)
}

// empty removes all that is in a folder. A link that has taken its place is not followed.
func empty(folder *os.File, name string) error {
	inner, err := openInner(folder, name)
	if err != nil || inner == nil {
		return err
	}
	defer func() { _ = inner.Close() }()
	names, err := tree.Names(inner)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := unlink(inner, n, true); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%q in it: %w", n, err)
		}
	}
	return nil
}

func chmod(c call) error {
	mode, err := c.number("mode", 8, -1)
	if err == nil && mode < 0 {
		err = invalid("mode: want it in octal")
	}
	if err = errors.Join(err, invalidMode(mode)); err != nil {
		return err
	}
	if err := unix.Chmod(c.args["path"], uint32(mode)); err != nil { //nolint:gosec // bounded above
		return about("change mode of", c.args["path"], err)
	}
	c.args["follow"] = "1"
	return stat(c)
}

// chown gives a file to a user, by name or number, or with ":group" to that group too.
func chown(c call) error {
	name, group, hasGroup := strings.Cut(c.args["owner"], ":")
	uid, gid := -1, -1
	var err error
	if name != "" {
		var who users.Account
		if who, err = users.Find(name); err != nil {
			return invalid("%v", err)
		}
		uid = who.UID
	}
	if hasGroup {
		if gid, err = users.Group(group); err != nil {
			return invalid("%v", err)
		}
	}
	if err := unix.Chown(c.args["path"], uid, gid); err != nil {
		return about("change owner of", c.args["path"], err)
	}
	c.args["follow"] = "1"
	return stat(c)
}

// pack writes a tar stream of what a path leads to, called as; see tree.Pack.
func pack(c call) error {
	p, err := c.find("path", c.is("follow"))
	if err != nil {
		return err
	}
	defer p.close()
	as := c.args["as"]
	if as == "" {
		as = tree.Base(p.path)
	}
	return tree.Pack(c.out, p.folder, p.name, as)
}

// unpack makes what a tar stream has in a folder; see tree.Unpack.
func unpack(c call) error {
	folder, err := tree.OpenFolder(c.args["path"])
	if err != nil {
		return about("unpack into", c.args["path"], err)
	}
	defer func() { _ = folder.Close() }()
	in, err := c.pieces()
	if err != nil {
		return err
	}
	err = tree.Unpack(in, folder, tree.Options{Owners: c.is("owners"), Special: true})
	if err == nil {
		_, err = io.Copy(io.Discard, in) // what may follow a stream's end
	}
	return err
}
