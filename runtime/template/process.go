package template

import (
	"fmt"
	"path"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"sandpool/runtime/rootfs"
)

// defaultPath is what a process has as PATH when neither the image nor the template says.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Settle puts into a spec of containerd's defaults what the template and its image ask for, and returns the command that the
// init is to run, if any. config and files are a stranger's.
func (t Template) Settle(s *specs.Spec, config ocispec.ImageConfig, files *rootfs.Files, init string) ([]string, error) {
	if err := t.setMounts(s, files, init); err != nil {
		return nil, err
	}
	if err := t.setProcess(s, config, files); err != nil {
		return nil, err
	}
	t.Limits.set(s)
	if t.Platform != "" {
		annotate(s, platformAnnotation, t.Platform)
	}
	if t.AllowSetuid {
		s.Process.NoNewPrivileges = false
		annotate(s, setuidAnnotation, "true")
	}
	// Without it the stock shim captures the output of `runsc create` through a pipe that the sentry keeps open,
	// and the create never returns (gVisor #12198).
	annotate(s, "io.kubernetes.cri.container-type", "sandbox")
	if !t.ImageCommand {
		return t.Command, nil
	}
	command := append(append([]string(nil), config.Entrypoint...), config.Cmd...)
	for _, arg := range command {
		if strings.Contains(arg, "\x00") {
			return nil, fmt.Errorf("the image's command %.100q has a NUL in it: give the template a command", arg)
		}
	}
	return command, nil
}

// setProcess says who the sandbox's processes are, where they work and what is in their environment.
func (t Template) setProcess(s *specs.Spec, config ocispec.ImageConfig, files *rootfs.Files) error {
	user, repair := t.User, "mend the template's user"
	if user == "" {
		user, repair = config.User, "the image's user can be replaced by the template's user, such as two numbers as in \"1000:1000\""
	}
	who, err := files.User(user)
	if err != nil {
		return fmt.Errorf("%w: %s", err, repair)
	}
	s.Process.User = who
	s.Process.Env = mergeEnv([]string{defaultPath}, config.Env, s.Process.Env, t.Env)
	if s.Process.Cwd, err = t.workingFolder(config.WorkingDir, s.Mounts, files); err != nil {
		return fmt.Errorf("working folder (cwd): %w: set the template's cwd", err)
	}
	return nil
}

// workingFolder returns where the sandbox's processes work. gVisor makes it when the image does not have it. A relative one of
// an image counts from its root.
func (t Template) workingFolder(ofImage string, mounts []specs.Mount, files *rootfs.Files) (string, error) {
	folder := t.Cwd
	if folder == "" {
		folder = path.Join("/", ofImage)
	}
	if strings.Contains(folder, "\x00") {
		return "", fmt.Errorf("%.100q has a NUL in it", folder)
	}
	for _, m := range mounts {
		if within(path.Clean(folder), m.Destination) {
			return folder, nil // what the image has there is not seen
		}
	}
	resolved, info, err := files.Resolve(folder)
	switch {
	case err != nil:
		return "", err
	case info != nil && !info.IsDir():
		return "", fmt.Errorf("%s in the image is not a folder", resolved)
	case info == nil:
		return resolved, nil // gVisor makes no folder at the end of a link
	}
	return folder, nil
}

// mergeEnv joins environments; a later value of a variable replaces an earlier one. What no program could read is left out: an
// entry without a name or a value, or one with a NUL.
func mergeEnv(lists ...[]string) []string {
	at := map[string]int{}
	var merged []string
	for _, list := range lists {
		for _, entry := range list {
			name, _, ok := strings.Cut(entry, "=")
			if !ok || name == "" || strings.Contains(entry, "\x00") {
				continue
			}
			if i, known := at[name]; known {
				merged[i] = entry
				continue
			}
			at[name] = len(merged)
			merged = append(merged, entry)
		}
	}
	return merged
}
