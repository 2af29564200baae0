package hostpath

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a line of /proc/PID/mountinfo.
type mount struct {
	id, parent, device string
	root               string // of what is mounted, within its file system
	point              string // where it is mounted
	plain              bool   // with nosuid and nodev
}

// readMounts returns what users of the host see mounted. The daemon's own mounts are others: where systemd forbids a service new
// rights, all that it sees is nosuid. Who may not read those of process 1 is no service.
func readMounts() ([]mount, error) {
	data, err := os.ReadFile("/proc/1/mountinfo")
	if err != nil {
		data, err = os.ReadFile("/proc/self/mountinfo")
	}
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return parseMounts(string(data)), nil
}

// parseMounts passes over lines that it does not understand.
func parseMounts(text string) (list []mount) {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 6 {
			continue
		}
		options := strings.Split(fields[5], ",")
		list = append(list, mount{
			id: fields[0], parent: fields[1], device: fields[2], root: unescape.Replace(fields[3]), point: unescape.Replace(fields[4]),
			plain: slices.Contains(options, "nosuid") && slices.Contains(options, "nodev"),
		})
	}
	return list
}

// CheckWritable returns an error when what root in a sandbox writes below source could give rights on the host: a program with the set-uid
// bit, or a device. So source must be on mounts with nosuid and nodev, or below a folder that root alone can enter, wherever in the host
// it can be seen; what is mounted below it counts, too. The folders above it must pass CheckAbove in any case.
func CheckWritable(source string) error {
	if err := CheckAbove(source); err != nil {
		return err
	}
	found, err := resolve(source)
	if err != nil || !found[len(found)-1].last {
		return err // what is not there is judged once it is
	}
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	return checkWritable(mounts, found[len(found)-1].path, isClosed)
}

// checkWritable does the work on a path without links. closed tells whether a folder above a path keeps other users away from it.
func checkWritable(mounts []mount, path string, closed func(path string) bool) error {
	seen := places(mounts, path)
	for _, m := range mounts {
		if m.point != path && within(m.point, path) {
			seen = append(seen, places(mounts, m.point)...)
		}
	}
	for _, p := range seen {
		if !p.plain && !closed(p.path) {
			return fmt.Errorf("%s can be reached by users of this host, who would get root's rights by a set-uid program that a sandbox writes there: "+
				"mount it with nosuid and nodev, or chmod go-x a folder above it, or set read_only = true", p.path)
		}
	}
	return nil
}

// place is where a file can be seen.
type place struct {
	path  string
	plain bool
}

// places returns where the host shows what is at path, or a part of it.
func places(mounts []mount, path string) []place {
	at := mountOf(mounts, path)
	if at == nil {
		return []place{{path, false}}
	}
	inside := filepath.Join(at.root, strings.TrimPrefix(path, strings.TrimSuffix(at.point, "/")))
	var all []place
	for i := range mounts {
		m := &mounts[i]
		shown := m.point
		switch {
		case m.device != at.device:
			continue
		case within(inside, m.root):
			shown = filepath.Join(m.point, strings.TrimPrefix(inside, strings.TrimSuffix(m.root, "/")))
		case !within(m.root, inside):
			continue
		}
		if mountOf(mounts, shown) == m { // nothing is mounted over it
			all = append(all, place{shown, m.plain})
		}
	}
	return all
}

// mountOf finds the mount that a path without links is on, as the kernel does: from the root, into what is mounted on the way.
func mountOf(mounts []mount, path string) *mount {
	var at *mount
	for i := range mounts {
		isRoot := mounts[i].point == "/" && !slices.ContainsFunc(mounts, func(m mount) bool { return m.id == mounts[i].parent && m.id != mounts[i].id })
		if isRoot {
			at = &mounts[i]
		}
	}
	for at != nil {
		var next *mount
		for i := range mounts {
			m := &mounts[i]
			if m.parent == at.id && m.id != at.id && within(path, m.point) && (next == nil || len(m.point) < len(next.point)) {
				next = m
			}
		}
		if next == nil {
			return at
		}
		at = next
	}
	return nil
}

// within tells whether one clean path is another or lies in it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

// isClosed tells whether some folder above path can be entered by its owner alone, who is root as CheckAbove knows. The entry itself does not
// count: root in a sandbox can change its mode.
func isClosed(path string) bool {
	found, err := resolve(path)
	if err != nil || CheckAbove(path) != nil {
		return false
	}
	return slices.ContainsFunc(found, func(e entry) bool { return !e.last && e.is(unix.S_IFDIR) && e.stat.Mode&0o011 == 0 })
}
