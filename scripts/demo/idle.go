package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sandpool/runtime/poll"
)

const (
	idleSandboxes = 375
	idleTime      = 5 * time.Minute
	// idleSettle is how long what a fill left running gets to end.
	idleSettle = time.Minute
)

// idleConfig has as many sandboxes as an idle daemon is measured with.
const idleConfig = `
[templates.default]
image = "file://%[1]s"

[pools.default]
target = %[2]d
max = %[2]d
`

// measureIdle is `make bench-idle`: what a full pool costs that nobody asks for anything.
func (d *demo) measureIdle(ctx context.Context) error {
	d.say("A pool of %d sandboxes is left alone: for %s, and then for %s, which are measured.", idleSandboxes, idleSettle, idleTime)
	if err := poll.Sleep(ctx, idleSettle); err != nil {
		return err
	}
	began, before, machine := time.Now(), d.host.ProcessorTime(), machineTime()
	if err := poll.Sleep(ctx, idleTime); err != nil {
		return err
	}
	took := time.Since(began)
	percent := func(used time.Duration) float64 { return 100 * used.Seconds() / took.Seconds() }
	var all time.Duration
	after := d.host.ProcessorTime()
	fmt.Fprintf(d.out, "  %-28s  PROCESSOR TIME  %% OF ONE CORE\n", "PROGRAM")
	for _, program := range slices.Sorted(maps.Keys(after)) {
		used := after[program] - before[program]
		all += used
		fmt.Fprintf(d.out, "  %-28s  %14s  %13.2f\n", program, used, percent(used))
	}
	fmt.Fprintf(d.out, "  %-28s  %14s  %13.2f\n", "all of the host", all, percent(all))
	whole := machineTime() - machine
	fmt.Fprintf(d.out, "  %-28s  %14s  %13.2f\n", "all of the machine", whole, percent(whole))
	return nil
}

// machineTime is how long the machine's processors were busy since it was started: the first line of /proc/stat has it in hundredths of
// a second, and as the fourth and fifth figure how long they were not.
func machineTime() (busy time.Duration) {
	data, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(data), "\n")
	for i, field := range strings.Fields(line) {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err == nil && i != 4 && i != 5 && i <= 8 {
			busy += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return busy
}
