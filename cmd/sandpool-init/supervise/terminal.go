package supervise

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sandpool/runtime/supervisor/protocol"
)

func (f *files) openTerminal(rows, cols uint16) error {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	// The poller may have the number too, so that a read ends when the file is closed: Fd would make it block.
	f.stdin, f.reads = master, map[byte]*os.File{protocol.Terminal: master}
	number := -1
	err = Control(master, func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	if err == nil && rows > 0 && cols > 0 {
		err = resizeTerminal(master, rows, cols)
	}
	if err != nil {
		return err
	}
	slave, err := unix.Open(fmt.Sprintf("/dev/pts/%d", number), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	return f.give(slave, err)
}

func resizeTerminal(master *os.File, rows, cols uint16) error {
	return Control(master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
}

// write gives the process input. Before a key of its terminal that sends a signal, all that it has not read yet is dropped, as on Linux: gVisor would not
// look at the key before the process had read the line before it.
func (p *supervised) write(data []byte) error {
	for len(data) > 0 {
		n := len(data)
		if p.command.TTY {
			n = p.beforeKey(data)
		}
		if n == 0 {
			// Without this the key waits.
			_ = Control(p.stdin, func(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH) })
			n = 1
		}
		if _, err := p.stdin.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// overtake has a key that drops input drop what another write still waits to give, too. It locks p.input and returns the data from the key on, or
// none if there is no such key.
func (p *supervised) overtake(data []byte) []byte {
	if !p.command.TTY {
		return nil
	}
	data = data[p.beforeKey(data):]
	if len(data) > 0 {
		p.key.Lock()
		defer p.key.Unlock()
		_ = p.stdin.SetWriteDeadline(time.Unix(1, 0)) // long past
		p.input.Lock()
		_ = p.stdin.SetWriteDeadline(time.Time{})
	}
	return data
}

// beforeKey is how much of the data comes before a key that sends a signal and drops input, by how the terminal is set now.
func (p *supervised) beforeKey(data []byte) int {
	var mode *unix.Termios
	err := Control(p.stdin, func(fd int) (err error) {
		mode, err = unix.IoctlGetTermios(fd, unix.TCGETS)
		return err
	})
	if err != nil || mode.Lflag&unix.ISIG == 0 || mode.Lflag&unix.NOFLSH != 0 {
		return len(data)
	}
	n := len(data)
	for _, key := range []int{unix.VINTR, unix.VQUIT, unix.VSUSP} {
		if at := bytes.IndexByte(data, mode.Cc[key]); mode.Cc[key] != 0 && at >= 0 { // 0 is no key
			n = min(n, at)
		}
	}
	return n
}

// foreground is the group that is in the foreground of the process's terminal, or its own.
func (p *supervised) foreground() (group int) {
	group = p.pid
	_ = Control(p.stdin, func(fd int) (err error) {
		if foreground, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && foreground > 1 {
			group = foreground
		}
		return err
	})
	return group
}

// hangUp tells what is in the foreground that the terminal's first process has ended, as Linux does and gVisor does not.
func (p *supervised) hangUp() {
	group := p.foreground()
	_, _ = unix.Kill(-group, unix.SIGHUP), unix.Kill(-group, unix.SIGCONT) // nothing may be left
}
