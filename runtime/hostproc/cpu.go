package hostproc

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// CPU returns what the kernel says of the first processor, by its names. It asks once: on a large host the kernel takes its time to
// tell.
var CPU = sync.OnceValues(func() (map[string]string, error) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, fmt.Errorf("tell the processor: %w", err)
	}
	first, _, _ := strings.Cut(string(info), "\n\n")
	fields := map[string]string{}
	for line := range strings.Lines(first) {
		name, value, _ := strings.Cut(line, ":")
		fields[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return fields, nil
})
