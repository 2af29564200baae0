package testhost

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a long-running program that the host started and stops.
type Process struct {
	// Log is the file that holds its output, "" when the command had an output of its own.
	Log string

	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and was waited for
	err  error         // of the wait; read it after done
}

// Spawn starts cmd with its output in Dir/NAME.log, unless it has a Stdout of its own. Close stops it if the caller did not.
//
// The process gets a process group of its own, so that an interrupt at the terminal reaches the test first.
func (h *Host) Spawn(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{name: name, cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil && cmd.Stderr == nil {
		p.Log = filepath.Join(h.Dir, name+".log")
		log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		defer closeFile(log)
		cmd.Stdout, cmd.Stderr = log, log
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	h.mu.Lock()
	h.processes = append(h.processes, p)
	h.mu.Unlock()
	return p, nil
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends sig to the process.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits until the process has ended and returns what exec.Cmd.Wait did: nil after exit code 0.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Stop sends SIGTERM, and SIGKILL after the timeout, waits for the end and returns what Wait does.
func (p *Process) Stop(timeout time.Duration) error {
	_ = p.Signal(syscall.SIGTERM) // it may have ended on its own
	select {
	case <-p.done:
		return p.err
	case <-time.After(timeout):
		p.Kill()
		return fmt.Errorf("stop %s: killed after %s without an end", p.name, timeout)
	}
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// AwaitSocket waits until the unix socket at path accepts. It gives up when the process ends or ctx does.
func (p *Process) AwaitSocket(ctx context.Context, path string) error {
	var ended error
	err := poll(ctx, func() bool {
		select {
		case <-p.done:
			ended = fmt.Errorf("it ended (%s); its output ends with:\n%s", p.cmd.ProcessState, p.tail())
			return true
		default:
		}
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	if err = cmp.Or(ended, err); err != nil {
		return fmt.Errorf("wait for %s on %s: %w", p.name, path, err)
	}
	return nil
}

// tail returns the last lines of the log.
func (p *Process) tail() string {
	data, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
