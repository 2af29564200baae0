package supervise

import (
	"fmt"

	"golang.org/x/sys/unix"

	"sandpool/runtime/supervisor/protocol"
	"sandpool/runtime/ulimit"
)

// limited is the command that sets limits and then becomes the program at path: there is no other way to have only that get them.
func limited(c protocol.Command, path string) (string, []string, error) {
	if len(c.Limits) == 0 {
		return path, c.Args, nil
	}
	args := []string{"sandpool-init", "limit"}
	for _, text := range c.Limits {
		number, l, err := ulimit.Named(text)
		var own unix.Rlimit
		if err == nil {
			err = unix.Getrlimit(number, &own)
		}
		if err == nil && l.Hard > own.Max {
			err = fmt.Errorf("%s: the hard limit is above the sandbox's own, %d: see the template's ulimits", text, own.Max)
		}
		if err != nil {
			return "", nil, &protocol.Failure{Reason: protocol.Refused, Text: "rlimits: " + err.Error()}
		}
		args = append(args, text)
	}
	return "/proc/self/exe", append(append(args, "--", path), c.Args...), nil
}
