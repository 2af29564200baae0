package hostproc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// OutOfMemory tells in words that the kernel killed a process of one of the cgroups for lack of memory, if it has.
func OutOfMemory(cgroups []string) string {
	for _, group := range cgroups {
		for _, file := range []string{"memory.events", "memory.oom_control"} { // of version 2 and of version 1
			if kills, found := counter(filepath.Join(group, file), "oom_kill"); found && kills > 0 {
				return outOfMemory(group)
			}
		}
	}
	return ""
}

// outOfMemory words such a death with the limit of the cgroup, which has none where the file holds a word or all but 2^63.
func outOfMemory(group string) string {
	for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
		data, err := os.ReadFile(filepath.Join(group, file))
		limit, parseErr := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		if err == nil && parseErr == nil && limit < 1<<60 {
			return fmt.Sprintf("it was killed for lack of memory: its limit is %d MiB (memory_mib)", limit>>20)
		}
	}
	return "it was killed for lack of memory: it has no limit, and the host had none left"
}

// counter reads the figure behind a name in a file of the kernel's with a pair on each line.
func counter(path, name string) (n int64, found bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == name {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
