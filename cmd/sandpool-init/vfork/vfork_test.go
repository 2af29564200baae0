package vfork

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"syscall"
	"testing"

	"sandpool/scripts/testhost"
)

// TestMain shows how a program was started, if it is one.
func TestMain(m *testing.M) {
	if os.Getenv("SANDPOOL_START_SHELL") != "" {
		out, status, err := run(Program{Path: "/bin/sh", Args: []string{"sh", "-c", "ulimit -Sn; ulimit -Hn"}})
		if err != nil || status != 0 {
			out = err.Error()
		}
		_, _ = os.Stdout.WriteString(out)
		return
	}
	testhost.ClearEnv()
	m.Run()
}

// run starts a program and returns what it writes, once it has ended.
func run(p Program) (out string, status syscall.WaitStatus, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = null.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = r.Close() }()
	p.Files = [3]int{int(null.Fd()), int(w.Fd()), int(w.Fd())}
	pid, err := p.Start()
	_ = w.Close()
	if err != nil {
		return "", 0, err
	}
	data, err := io.ReadAll(r)
	if err == nil {
		_, err = syscall.Wait4(pid, &status, 0, nil)
	}
	return string(data), status, err
}

// eachWay runs a test with programs that are started in the fast way, and by syscall.ForkExec.
func eachWay(t *testing.T, test func(*testing.T)) {
	for _, slow := range []bool{false, true} {
		t.Run(map[bool]string{false: "fast", true: "slow"}[slow], func(t *testing.T) {
			unable.Store(slow)
			defer unable.Store(false)
			test(t)
			if runtime.GOARCH == "amd64" && unable.Load() != slow {
				t.Error("this kernel starts no programs in the fast way")
			}
		})
	}
}

// TestStart starts programs in both ways, and each finds all as it should be.
func TestStart(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		const status = "/proc/self/status"
		own, err := os.ReadFile(status)
		if err != nil {
			t.Fatal(err)
		}
		ignored := regexp.MustCompile(`(?m)^SigIgn:.*\n`).FindString(string(own)) // what this program was started to ignore stays ignored
		someone := &syscall.Credential{Uid: 12, Gid: 34, Groups: []uint32{56, 78}}
		for name, test := range map[string]struct {
			program Program
			out     string
		}{
			"arguments": {Program{Path: "/bin/sh", Args: []string{"sh", "-c", `echo "$0 $1 $A"`, "x", "y z"}, Env: []string{"A=b"}}, "x y z b\n"},
			"folder":    {Program{Path: "/bin/pwd", Args: []string{"pwd"}, Folder: "/usr"}, "/usr\n"},
			"session":   {Program{Path: "/bin/sh", Args: []string{"sh", "-c", `read -r _ _ _ _ group session _ </proc/self/stat; [ $group = $$ ] && [ $session = $$ ] && echo leader`}}, "leader\n"},
			"signals":   {Program{Path: "/bin/sed", Args: []string{"sed", "-nE", "/^Sig(Blk|Ign|Cgt)/p", status}}, "SigBlk:\t0000000000000000\n" + ignored + "SigCgt:\t0000000000000000\n"},
			"user":      {Program{Path: "/bin/grep", Args: []string{"grep", "-E", "^([UG]id|Groups)", status}, Credential: someone}, "Uid:\t12\t12\t12\t12\nGid:\t34\t34\t34\t34\nGroups:\t56 78 \n"},
			"no groups": {Program{Path: "/bin/grep", Args: []string{"grep", "^Groups", status}, Credential: &syscall.Credential{Uid: 12, Gid: 34}}, "Groups:\t \n"},
		} {
			if got, status, err := run(test.program); got != test.out || status != 0 || err != nil {
				t.Errorf("%s: %q, status %d, %v, want %q", name, got, status, err, test.out)
			}
		}
	})
}

func TestStartFails(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			program Program
			want    syscall.Errno
		}{
			"no program": {Program{Path: "/no/such"}, syscall.ENOENT},
			"a folder":   {Program{Path: "/"}, syscall.EACCES},
			"a device":   {Program{Path: "/dev/null"}, syscall.EACCES},
			"no folder":  {Program{Path: "/bin/true", Folder: "/no/such"}, syscall.ENOENT},
			"a NUL":      {Program{Path: "/bin/true", Args: []string{"a\x00b"}}, syscall.EINVAL},
		} {
			if _, _, err := run(test.program); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
		}
		if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
			t.Errorf("a child is left: %v", err)
		}
	})
}

// TestStartInParallel has many threads start programs, which do not hold each other up for ever nor mix their results.
func TestStartInParallel(t *testing.T) {
	failed := make(chan error)
	const threads, each = 8, 20
	for i := range threads {
		go func() {
			for range each {
				_, status, err := run(Program{Path: "/bin/sh", Args: []string{"sh", "-c", "exit " + string(rune('0'+i))}})
				if err == nil && status.ExitStatus() != i {
					err = errors.New("another's exit code")
				}
				if err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range threads {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// TestLimitOfFiles starts a program whose limit of open files Go's runtime raises: what that starts has the one before.
func TestLimitOfFiles(t *testing.T) {
	cmd := exec.Command("sh", "-c", `ulimit -Sn 123 && ulimit -Hn 456 && SANDPOOL_START_SHELL=1 exec "$0"`, os.Args[0])
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "123\n456\n" {
		t.Errorf("%v, %q", err, out)
	}
}
