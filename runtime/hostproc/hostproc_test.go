package hostproc

import (
	"os"
	"slices"
	"testing"
	"time"
)

// A table in which two sandboxes are served, and programs of others have words of theirs.
func TestTableKnowsWhoServesASandbox(t *testing.T) {
	const a, b = "sb-aaaaaaaaaaaaaaaa", "sb-bbbbbbbbbbbbbbbb"
	table := Table{
		{PID: 1, args: []string{"/sbin/init"}},
		{PID: 2, parent: 1}, // a thread of the kernel's
		{PID: 10, parent: 1, args: []string{"/bin/containerd-shim-runsc-v1", "-namespace", "x", "-id", a}},
		{PID: 11, parent: 10, args: []string{"runsc-gofer", "--root=/r", "gofer", a}},
		{PID: 12, parent: 10, ticks: 3, args: []string{"runsc-sandbox", "--root=/r", "boot", a}},
		{PID: 13, parent: 12, ticks: 4, args: []string{"stub"}},
		{PID: 14, parent: 10, args: []string{"/bin/sh", "/r/" + a + ".runsc", "wait", a}},
		{PID: 15, parent: 1, args: []string{"/bin/containerd-shim-runsc-v1", "-id", a, "delete"}},
		{PID: 20, parent: 1, ticks: 5, args: []string{"/bin/runsc-sandbox", "boot", b}},
		{PID: 30, parent: 1, args: []string{"grep", "-r", a, "runsc"}},
	}
	for role, want := range map[Role]int{Shim: 10, Gofer: 11, Sentry: 12, Command: 14, Cleanup: 15} {
		if p, found := table.Find(a, role); !found || p.PID != want {
			t.Errorf("%s: process %d, %v; want %d", role, p.PID, found, want)
		}
	}
	for _, test := range []struct {
		roles []Role
		want  []int
	}{
		{nil, []int{10, 11, 12, 13, 14, 15}},
		{Working, []int{10, 11, 12, 13, 14}},
		{[]Role{Sentry}, []int{12, 13}},
		{[]Role{Cleanup}, []int{15}},
	} {
		var got []int
		for _, p := range table.Serving(a, test.roles...) {
			got = append(got, p.PID)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: processes %v, want %v", test.roles, got, test.want)
		}
	}
	used := table.CPUTimes(a, b, "sb-cccccccccccccccc")
	if len(used) != 2 || used[a] != 70*time.Millisecond || used[b] != 50*time.Millisecond {
		t.Errorf("processor times %v, want 70 ms and 50 ms", used)
	}
}

func TestListAndHeadroomOfThisHost(t *testing.T) {
	table, err := List()
	at := slices.IndexFunc(table, func(p Process) bool { return p.PID == os.Getpid() })
	if err != nil || at < 0 || !slices.Equal(table[at].args, os.Args) || table[at].parent != os.Getppid() {
		t.Fatalf("%v, this process is at %d of %d", err, at, len(table))
	}
	pidfd, err := table[at].Open()
	if err != nil || pidfd == nil {
		t.Fatalf("%v, it is open: %v", err, pidfd != nil)
	}
	_ = pidfd.Close()
	other := table[at]
	other.started++ // an earlier process of the same number
	if pidfd, err := other.Open(); err != nil || pidfd != nil {
		t.Errorf("%v, an earlier process is open: %v", err, pidfd != nil)
	}
	h, err := MeasureHeadroom(t.TempDir())
	if err != nil || h.Memory == 0 || h.TotalMemory < h.Memory || h.TotalDisk < h.Disk || h.TotalDisk == 0 || h.PIDs == 0 || h.Files == 0 {
		t.Errorf("%+v, %v", h, err)
	}
}
