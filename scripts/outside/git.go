package outside

import (
	"fmt"
	"net/http"
	"net/http/cgi" //nolint:gosec // the header Proxy reaches no program here but git's own
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// addGit serves the repository https://github.com/outside/greeting.git by the host's git.
func addGit(pages *http.ServeMux, dir string) error {
	program, err := exec.LookPath("git")
	if err != nil {
		return fmt.Errorf("serve a repository: %w", err)
	}
	work, root := filepath.Join(dir, "work"), filepath.Join(dir, "served")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, "greeting.txt"), []byte("good day\n"), 0o600); err != nil {
		return err
	}
	env := []string{"HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=Nobody", "GIT_AUTHOR_EMAIL=nobody@example.com", "GIT_COMMITTER_NAME=Nobody", "GIT_COMMITTER_EMAIL=nobody@example.com"}
	for _, args := range []string{"init --quiet", "add greeting.txt", "commit --quiet -m Greet", "clone --quiet --bare . " + root + "/outside/greeting.git"} {
		cmd := exec.Command(program, strings.Fields(args)...) //nolint:noctx // it ends by itself
		cmd.Dir, cmd.Env = work, append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args, err, out)
		}
	}
	pages.Handle("github.com/", &cgi.Handler{
		Path: program, Args: []string{"http-backend"}, Dir: root, Env: append(env, "GIT_PROJECT_ROOT="+root, "GIT_HTTP_EXPORT_ALL=1"),
	})
	return nil
}
