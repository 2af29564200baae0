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

	"sandpool/lifetime/wait"
)

const (
	idleSandboxes = 375
	idleTime      = 5 * time.Minute
	idleAlone     = 2 * time.Minute
	// idleSettle is how long what a fill left running gets to end, and each process to collect its garbage for the last time.
	idleSettle = 3 * time.Minute
)

// idleConfig has as many sandboxes as an idle daemon is measured with.
const idleConfig = `
[templates.default]
image = "file://%[1]s"

[pools.default]
target = %[2]d
max = %[2]d
`

// measureIdle is `make bench-idle`: what a full pool costs that nobody asks for anything, and what of that its sandboxes cost without a
// daemon.
func (d *demo) measureIdle(ctx context.Context) error {
	d.say("A pool of %d sandboxes is left alone: for %s, and then for %s, which are measured.", idleSandboxes, idleSettle, idleTime)
	if err := wait.Sleep(ctx, idleSettle); err != nil {
		return err
	}
	if err := d.measureFor(ctx, idleTime); err != nil {
		return err
	}
	d.typed(fmt.Sprintf("kill %d   # sandpoold; on_stop = \"keep\"", d.daemon.Pid()))
	if err := d.closeDaemon(); err != nil {
		return err
	}
	d.say("Without the daemon:")
	return d.measureFor(ctx, idleAlone)
}

// measureFor prints how much processor time each program uses within a time.
func (d *demo) measureFor(ctx context.Context, span time.Duration) error {
	began, before, machine := time.Now(), d.host.ProcessorTime(), machineTime()
	if err := wait.Sleep(ctx, span); err != nil {
		return err
	}
	took, after := time.Since(began), d.host.ProcessorTime()
	show := func(what string, used time.Duration) {
		fmt.Fprintf(d.out, "  %-24s  %14s  %13.2f\n", what, used, 100*used.Seconds()/took.Seconds())
	}
	fmt.Fprintf(d.out, "  %-24s  PROCESSOR TIME  %% OF ONE CORE\n", "PROGRAM")
	var all time.Duration
	for _, program := range slices.Sorted(maps.Keys(after)) {
		used := after[program] - before[program]
		all += used
		if used > 0 {
			show(program, used)
		}
	}
	show("all of these", all)
	show("the whole machine", machineTime()-machine)
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
