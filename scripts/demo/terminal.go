package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"sandpool/daemon/wire"
)

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "\n"+format+"\n", args...) }

func (d *demo) typed(command string) { fmt.Fprintln(d.out, "$", command) }

// print shows output as it is, indented under its command.
func (d *demo) print(output string) {
	for line := range strings.Lines(output) {
		fmt.Fprint(d.out, "  ", strings.TrimRight(line, "\n"), "\n")
	}
}

// progress is a line that is drawn anew on a terminal; elsewhere each change is a line.
type progress struct {
	out      io.Writer
	terminal bool
	last     string
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

func (p *progress) show(pool wire.Pool) {
	ready := min(pool.Available, pool.Target)
	line := fmt.Sprintf("  pool %s [%s%s] %d of %d ready, %d starting", pool.Name,
		strings.Repeat("#", ready), strings.Repeat(".", pool.Target-ready), pool.Available, pool.Target, pool.Warming)
	if line == p.last {
		return
	}
	p.last = line
	if p.terminal {
		fmt.Fprint(p.out, "\r\033[K", line)
		return
	}
	fmt.Fprintln(p.out, line)
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprintln(p.out)
	}
}
