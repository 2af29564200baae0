package processes

import (
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/containerd/errdefs"

	"sandpool/daemon/wire"
	"sandpool/runtime/ulimit"
)

const maxUser = 256 // bytes of a user's name

// Invalid is an error that the client can mend.
func Invalid(format string, args ...any) error {
	return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(format, args...))
}

// Check refuses what no command can be.
func Check(body wire.ExecRequest) error {
	if len(body.Args) == 0 || body.Args[0] == "" {
		return Invalid("args: want a command")
	}
	if err := checkSize(body); err != nil {
		return err
	}
	for i, arg := range body.Args {
		if strings.ContainsRune(arg, 0) {
			return Invalid("args[%d]: has a NUL character in it", i)
		}
	}
	if err := CheckEntries("env", body.Env); err != nil {
		return err
	}
	if len(body.User) > maxUser || strings.ContainsRune(body.User, 0) {
		return Invalid("user: want a name or a number of at most %d bytes", maxUser)
	}
	if body.Timeout != nil && *body.Timeout <= 0 {
		return Invalid("timeout: %s: want more than 0s", body.Timeout)
	}
	for name, value := range body.Rlimits {
		if _, _, err := ulimit.Named(name + "=" + value); err != nil {
			return Invalid("rlimits: %v", err)
		}
	}
	if body.Cwd != "" && (!path.IsAbs(body.Cwd) || strings.ContainsRune(body.Cwd, 0)) {
		return Invalid("cwd: %q: want an absolute path", body.Cwd)
	}
	return nil
}

// checkSize refuses what Linux would not take as a program's arguments and environment.
func checkSize(body wire.ExecRequest) error {
	all := 0
	for name, texts := range map[string][]string{"args": body.Args, "env": body.Env} {
		for i, text := range texts {
			if len(text) > wire.MaxArgument {
				return TooLong(fmt.Sprintf("%s[%d] has %d bytes, and the limit is %d", name, i, len(text), wire.MaxArgument))
			}
			all += len(text) + 1
		}
	}
	if all > wire.MaxCommand {
		return TooLong(fmt.Sprintf("args and env have %d bytes in all, and the limit is %d", all, wire.MaxCommand))
	}
	return nil
}

// TooLong says what of a command is too long.
type TooLong string

func (t TooLong) Error() string { return string(t) + ": send it by the command's standard input" }

func (t TooLong) Unwrap() error { return &http.MaxBytesError{Limit: wire.MaxCommand} }

// CheckEntries refuses what is no environment. It tells no values.
func CheckEntries(of string, entries []string) error {
	for i, entry := range entries {
		name, value, ok := strings.Cut(entry, "=") // the value may be a secret
		if !ok || name == "" || strings.ContainsRune(name, 0) {
			return Invalid("%s[%d]: %q: want KEY=VALUE", of, i, name)
		}
		if strings.ContainsRune(value, 0) {
			return Invalid("%s[%d]: the value of %q has a NUL character in it", of, i, name)
		}
	}
	return nil
}
