package template

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The names of one sandbox are in no other's spec, nor in what all share.
func TestNamesAreEachSandboxesOwn(t *testing.T) {
	base := &specs.Spec{Version: "1", Linux: &specs.Linux{MountLabel: "kept", Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}}}}
	before, err := SharedSpec(base)
	if err != nil {
		t.Fatal(err)
	}
	one, other := SandboxSpec(base, "ns", "sb-1", ""), SandboxSpec(base, "ns", "sb-2", "/net")
	for id, spec := range map[string]*specs.Spec{"sb-1": one, "sb-2": other} {
		shared, err := SharedSpec(spec)
		if spec.Hostname != id || spec.Linux.CgroupsPath != "/ns/"+id || spec.Linux.MountLabel != "kept" || err != nil || string(shared) != string(before) {
			t.Errorf("%s: host %s, cgroups %s, shared %s, %v; want %s", id, spec.Hostname, spec.Linux.CgroupsPath, shared, err, before)
		}
	}
	if path := other.Linux.Namespaces[1].Path; path != "/net" || one.Linux.Namespaces[1].Path != "" || base.Linux.Namespaces[1].Path != "" {
		t.Errorf("network namespace %q", path)
	}
	if base.Hostname != "" || base.Linux.CgroupsPath != "" {
		t.Errorf("the template's own names are %q and %q", base.Hostname, base.Linux.CgroupsPath)
	}
}
