// Package files does what clients ask for with the files of a sandbox, with the rights of one of its users. The daemon starts the sandbox's
// init for each operation, and only carries bytes: nothing of the host is opened by a path from inside.
//
//	sandpool-init file OPERATION [KEY=VALUE...]
//
// Each value is a quoted string of Go's, so that names may be any bytes. Answers are lines on standard output: of a file its kind, mode, user,
// group, size, time, inode, name and link target, the last two quoted. An error is one line: the name of the system's error, and a sentence.
package files

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool-init/tree"
	"sandpool/cmd/sandpool-init/users"
)

// operations by their names.
var operations = map[string]func(call) error{
	"append": appendTo, "chmod": chmod, "chown": chown, "list": list, "mkdir": mkdir, "move": move, "overwrite": overwrite, "pack": pack,
	"read": read, "remove": remove, "stat": stat, "unpack": unpack, "watch": watch, "write": write,
}

// call is one operation, and where it reads and writes.
type call struct {
	args map[string]string
	in   *bufio.Reader
	out  *bufio.Writer
}

// errUsage is of arguments that no daemon sends.
var errUsage = errors.New("usage: sandpool-init file OPERATION [KEY=VALUE...]")

// Run does an operation, and returns the exit code. It says on errors why it could not.
func Run(args []string, in io.Reader, out, errOut io.Writer) int {
	err := run(args, in, out)
	if errors.Is(err, errUsage) {
		_, _ = fmt.Fprintln(errOut, err)
		return 2
	}
	if err != nil {
		_, _ = fmt.Fprintf(errOut, "%s %s\n", class(err), strings.ReplaceAll(err.Error(), "\n", " "))
		return 1
	}
	return 0
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 || operations[args[0]] == nil {
		return errUsage
	}
	unix.Umask(0)               // modes are as asked for
	signal.Ignore(unix.SIGPIPE) // a daemon that has died is an error like others: what was begun is tidied up
	c := call{args: map[string]string{}, in: bufio.NewReader(in), out: bufio.NewWriterSize(out, 64<<10)}
	for _, arg := range args[1:] {
		key, quoted, _ := strings.Cut(arg, "=")
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return errUsage
		}
		c.args[key] = value
	}
	if user, given := c.args["user"]; given {
		if err := users.Become(user); err != nil {
			return invalid("%v", err)
		}
	}
	err := operations[args[0]](c)
	return errors.Join(err, c.out.Flush())
}

// class is the name of the system's error by which the daemon knows what to answer.
func class(err error) string {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return unix.ErrnoName(errno)
	}
	return "EIO"
}

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, unix.EINVAL)...)
}

// about says which file an error is about. The path is the client's own.
func about(verb, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", verb, path, bare(err))
}

// bare takes off an error what names the file once more.
func bare(err error) error {
	if wrapped, ok := errors.AsType[*os.PathError](err); ok {
		return wrapped.Err
	}
	return err
}

// is tells whether a switch is on.
func (c call) is(key string) bool { return c.args[key] != "" }

// number reads a number that an operation was given, in a base, or returns otherwise if it was not.
func (c call) number(key string, base int, otherwise int64) (int64, error) {
	text, given := c.args[key]
	if !given {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, base, 64)
	if err != nil || n < 0 {
		return 0, invalid("%s: %q is no number", key, text)
	}
	return n, nil
}

// place is what a path leads to: a folder, and a name in it.
type place struct {
	path   string
	folder *os.File
	name   string
}

// find opens the folder that has what a path leads to. With follow it is where the links at its end lead, as far as there is something.
func (c call) find(key string, follow bool) (place, error) {
	path := c.args[key]
	if path == "" || len(path) >= unix.PathMax {
		return place{}, fmt.Errorf("%s: want 1 to %d bytes, have %d: %w", key, unix.PathMax-1, len(path), unix.ENAMETOOLONG)
	}
	at := path
	for range 40 { // as many links as the kernel follows
		dir, name := tree.Split(at)
		folder, err := tree.OpenFolder(dir)
		if err != nil {
			return place{}, about("open", path, err)
		}
		target := ""
		if follow {
			target, _ = tree.Link(folder, name) // what is no link has none
		}
		if target == "" {
			return place{path, folder, name}, nil
		}
		_ = folder.Close()
		if !strings.HasPrefix(target, "/") {
			target = dir + "/" + target
		}
		at = target
	}
	return place{}, about("open", path, unix.ELOOP)
}

func (p place) close() { _ = p.folder.Close() }

func (p place) fd() int { return int(p.folder.Fd()) }

// kinds are the letters for what a file can be.
var kinds = map[uint32]byte{
	unix.S_IFREG: 'f', unix.S_IFDIR: 'd', unix.S_IFLNK: 'l', unix.S_IFIFO: 'p', unix.S_IFSOCK: 's', unix.S_IFCHR: 'c', unix.S_IFBLK: 'b',
}

// tell writes the line of a file.
func (c call) tell(name string, st *unix.Stat_t, target string) error {
	kind := kinds[st.Mode&unix.S_IFMT]
	_, err := fmt.Fprintf(c.out, "%c %o %d %d %d %d.%09d %d:%d %s %s\n", kind, st.Mode&0o7777, st.Uid, st.Gid, st.Size, st.Mtim.Sec, st.Mtim.Nsec,
		st.Dev, st.Ino, strconv.QuoteToASCII(name), strconv.QuoteToASCII(target))
	return err
}

// tellOf looks at a file and writes its line.
func (c call) tellOf(folder *os.File, name, as string) error {
	st, err := tree.StatAt(folder, name)
	if err != nil {
		return err
	}
	target := ""
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if target, err = tree.Link(folder, name); err != nil {
			return err
		}
	}
	return c.tell(as, &st, target)
}
