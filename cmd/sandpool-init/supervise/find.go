package supervise

import (
	"cmp"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Find finds a command as a shell does: by PATH of the environment that it gets, of which relative and empty entries lead to the folder that it
// runs in.
func Find(name string, env []string, folder string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	found := exec.ErrNotFound
	for _, dir := range pathOf(env) {
		path := filepath.Join(cmp.Or(dir, "."), name)
		if path == name {
			path = "./" + name
		}
		from := path
		if !filepath.IsAbs(path) {
			from = filepath.Join(folder, path)
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

// pathOf returns the entries of PATH, none if it is not set.
func pathOf(env []string) []string {
	for _, entry := range slices.Backward(env) { // the last of a name counts
		if list, ok := strings.CutPrefix(entry, "PATH="); ok {
			return strings.Split(list, ":")
		}
	}
	return nil
}

// withHome adds a user's home to an environment that has none.
func withHome(env []string, home string) []string {
	if home == "" || slices.ContainsFunc(env, func(entry string) bool { return strings.HasPrefix(entry, "HOME=") }) {
		return env
	}
	return append(slices.Clip(env), "HOME="+home)
}
