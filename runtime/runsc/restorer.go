package runsc

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sandpool/runtime/atomicfile"
)

// The names of a restored sandbox's files begin alike, and end so.
const (
	RestorerSuffix = ".runsc" // a link to the script that its shim takes for runsc, for as long as the task lives
	ImageSuffix    = ".image" // a link to the checkpoint's folder, while it is being restored
)

// restoreScript is the runsc of a restored sandbox's shim: it restores where the shim would start. It is called by a name of
// the sandbox's own, beside which the checkpoint is.
const restoreScript = `#!/bin/sh
# Written by sandpoold, which never changes it: shims open it at any time. Another runsc gets a script of another name.
for arg in "$@"; do
	shift
	if [ "$arg" = start ]; then
		set -- "$@" restore --detach --background --image-path="${0%%%s}%s"
	else
		set -- "$@" "$arg"
	fi
done
exec %s "$@"
`

const restorerPrefix = "runsc-restore" // of the scripts' names

// Restorer returns the script in dir that all sandboxes share which are restored with this program, and its text. The name follows from
// the text: what a shell may still have to open is never another.
func Restorer(dir, program string) (path string, text []byte) {
	quoted := "'" + strings.ReplaceAll(program, "'", `'\''`) + "'"
	text = fmt.Appendf(nil, restoreScript, RestorerSuffix, ImageSuffix, quoted)
	return filepath.Join(dir, fmt.Sprintf("%s-%.6x", restorerPrefix, sha256.Sum256(text))), text
}

// WriteRestorer writes the script for this program into dir unless it is there, and removes those for others that none of the restored
// sandboxes needs whose links are in the folder links.
func WriteRestorer(dir, program, links string) error {
	path, text := Restorer(dir, program)
	if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, text) {
		if err := atomicfile.Write(path, text); err != nil {
			return err
		}
	}
	if err := os.Chmod(path, 0o755); err != nil { //nolint:gosec // a program
		return fmt.Errorf("write %s: %w", path, err)
	}
	return removeOldRestorers(dir, path, links)
}

func removeOldRestorers(dir, current, links string) error {
	scripts, err := filepath.Glob(filepath.Join(dir, restorerPrefix+"*"))
	if err != nil {
		return fmt.Errorf("list restore scripts: %w", err)
	}
	restored, err := filepath.Glob(filepath.Join(links, "*"+RestorerSuffix))
	if err != nil {
		return fmt.Errorf("list restored sandboxes: %w", err)
	}
	needed := map[string]bool{current: true}
	for _, link := range restored {
		target, err := os.Readlink(link)
		if err != nil {
			return fmt.Errorf("find a sandbox's restore script: %w", err)
		}
		needed[target] = true
	}
	var errs []error
	for _, script := range scripts {
		if needed[script] {
			continue
		}
		if err := os.Remove(script); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove a restore script: %w", err))
		}
	}
	return errors.Join(errs...)
}
