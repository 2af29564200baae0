package supervise

import (
	"cmp"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sandpool/runtime/supervisor/protocol"
)

// findIn finds a command by PATH of its own environment, in its own folder.
func findIn(c protocol.Command) (string, error) {
	name, list := c.Args[0], ""
	for _, entry := range c.Env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			list = value // the last of a name counts
		}
	}
	if strings.Contains(name, "/") {
		return name, nil
	}
	found := exec.ErrNotFound
	for dir := range strings.SplitSeq(list, ":") {
		path := filepath.Join(cmp.Or(dir, "."), name)
		if path == name {
			path = "./" + name
		}
		from := path
		if !filepath.IsAbs(path) {
			from = filepath.Join(c.Folder, path)
		}
		switch info, err := os.Stat(from); {
		case err != nil || info.IsDir():
		case info.Mode()&0o111 == 0:
			found = fs.ErrPermission
		default:
			return path, nil
		}
	}
	return "", found
}

// withHome adds a user's home to an environment that has none.
func withHome(env []string, home string) []string {
	if home == "" || slices.ContainsFunc(env, func(entry string) bool { return strings.HasPrefix(entry, "HOME=") }) {
		return env
	}
	return append(slices.Clip(env), "HOME="+home)
}
