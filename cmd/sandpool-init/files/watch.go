package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool-init/tree"
)

// mostWatches is how many folders are watched at a time.
const mostWatches = 8192

// watched is what is told of.
const watched = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ATTRIB |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF

// changes are the words for what the kernel tells of, in the order in which they are looked at.
var changes = []struct {
	bit  uint32
	word string
}{
	{unix.IN_CREATE, "created"}, {unix.IN_MODIFY, "changed"}, {unix.IN_CLOSE_WRITE, "written"}, {unix.IN_DELETE | unix.IN_DELETE_SELF, "removed"},
	{unix.IN_MOVED_FROM | unix.IN_MOVE_SELF, "moved_from"}, {unix.IN_MOVED_TO, "moved_to"}, {unix.IN_ATTRIB, "attributes"},
}

// watcher tells of changes in folders.
type watcher struct {
	call

	fd        int
	recursive bool
	paths     map[int]string // of the folders that are watched, from the first
}

// watch writes a line for each change of a file or a folder, or of what is in it: a word, f or d, and the name, until its input ends. First of all it
// says that it has begun.
func watch(c call) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	w := &watcher{call: c, fd: fd, recursive: c.is("recursive"), paths: map[int]string{}}
	if err := w.begin(); err != nil {
		return about("watch", c.args["path"], err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, c.in)
		os.Exit(0) // nobody listens any more
	}()
	return about("watch", c.args["path"], w.follow())
}

func (w *watcher) begin() error {
	folder, err := tree.OpenFolder(w.args["path"])
	if errors.Is(err, unix.ENOTDIR) {
		wd, err := unix.InotifyAddWatch(w.fd, w.args["path"], watched)
		w.paths[wd] = "."
		return errors.Join(err, w.say("+"))
	}
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	if err := w.add(folder, ".", false); err != nil {
		return err
	}
	return w.say("+")
}

// add watches a folder, and those in it if they are to be. With tell it tells of what is there already.
func (w *watcher) add(folder *os.File, at string, tell bool) error {
	if len(w.paths) >= mostWatches {
		return invalid("there are more than %d folders in it: watch fewer", mostWatches)
	}
	wd, err := unix.InotifyAddWatch(w.fd, "/proc/self/fd/"+strconv.Itoa(int(folder.Fd())), watched)
	if err != nil {
		return err
	}
	w.paths[wd] = at
	if !w.recursive {
		return nil
	}
	names, err := tree.Names(folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		inner, err := openInner(folder, name)
		if tell {
			if err := w.tellChange("created", inner != nil, path.Join(at, name)); err != nil {
				return err
			}
		}
		if err != nil || inner == nil {
			continue // no folder, or one that this user may not read
		}
		err = w.add(inner, path.Join(at, name), tell)
		_ = inner.Close()
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// follow reads what the kernel tells.
func (w *watcher) follow() error {
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(w.fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		for events := buf[:n]; len(events) >= unix.SizeofInotifyEvent; {
			wd, mask := int(int32(binary.NativeEndian.Uint32(events))), binary.NativeEndian.Uint32(events[4:]) //nolint:gosec // as the kernel has it
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
			name := string(bytes.TrimRight(events[unix.SizeofInotifyEvent:size], "\x00"))
			events = events[size:]
			if over, err := w.event(wd, mask, name); over || err != nil {
				return errors.Join(err, w.out.Flush())
			}
		}
		if err := w.out.Flush(); err != nil {
			return err
		}
	}
}

// event tells of one change. It is the last when what is watched is gone.
func (w *watcher) event(wd int, mask uint32, name string) (over bool, err error) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		return false, w.tellChange("lost", false, ".")
	}
	at, known := w.paths[wd]
	if mask&unix.IN_IGNORED != 0 {
		delete(w.paths, wd)
		return known && at == ".", nil
	}
	self := mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0 || name == ""
	if !known || self && at != "." {
		return false, nil // its folder tells of it
	}
	full := path.Join(at, name)
	for _, c := range changes {
		if mask&c.bit != 0 {
			err = errors.Join(err, w.tellChange(c.word, mask&unix.IN_ISDIR != 0, full))
		}
	}
	if err == nil && w.recursive && mask&unix.IN_ISDIR != 0 {
		err = w.reach(mask, full)
	}
	return mask&unix.IN_MOVE_SELF != 0, err
}

// reach watches a folder that has come, and lets go of those that went with one that has left.
func (w *watcher) reach(mask uint32, at string) error {
	if mask&unix.IN_MOVED_FROM != 0 {
		for wd, p := range w.paths {
			if p == at || strings.HasPrefix(p, at+"/") {
				_, _ = unix.InotifyRmWatch(w.fd, uint32(wd)) //nolint:gosec // as the kernel has it
				delete(w.paths, wd)
			}
		}
	}
	if mask&(unix.IN_CREATE|unix.IN_MOVED_TO) == 0 {
		return nil
	}
	folder, err := w.open(at)
	if err != nil {
		return nil // it has gone again
	}
	defer func() { _ = folder.Close() }()
	if err := w.add(folder, at, true); err != nil {
		return w.tellChange("lost", true, at)
	}
	return nil
}

// open opens a folder below the first one, through no link.
func (w *watcher) open(at string) (*os.File, error) {
	folder, err := tree.OpenFolder(w.args["path"])
	for name := range strings.SplitSeq(at, "/") {
		if err != nil {
			return nil, err
		}
		inner, innerErr := tree.OpenInner(folder, name)
		_ = folder.Close()
		folder, err = inner, innerErr
	}
	return folder, err
}

func (w *watcher) tellChange(word string, folder bool, name string) error {
	kind := "f"
	if folder {
		kind = "d"
	}
	_, err := fmt.Fprintf(w.out, "%s %s %s\n", word, kind, strconv.QuoteToASCII(name))
	return err
}

// say writes a line at once.
func (c call) say(line string) error {
	_, err := c.out.WriteString(line + "\n")
	return errors.Join(err, c.out.Flush())
}
