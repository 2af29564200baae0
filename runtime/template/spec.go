package template

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The annotations that make an OCI spec say all that its sandbox is started with.
const (
	diskAnnotation     = "sandpool.disk"     // bytes
	setuidAnnotation   = "sandpool.setuid"   // if programs may have other rights than who starts them
	platformAnnotation = "sandpool.platform" // unless it is the engine's
)

// Notes are what the annotations of a spec say beside the rest of it.
type Notes struct {
	Platform string // of gVisor; empty: the engine's
	Disk     string // bytes that a sandbox may write; empty: any number
	Setuid   bool   // see Template.AllowSetuid
}

// NotesOf reads them.
func NotesOf(s *specs.Spec) Notes {
	return Notes{Platform: s.Annotations[platformAnnotation], Disk: s.Annotations[diskAnnotation], Setuid: s.Annotations[setuidAnnotation] != ""}
}

func annotate(s *specs.Spec, key, value string) {
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[key] = value
}

// SharedSpec is an OCI spec as JSON without the names that are each sandbox's own.
func SharedSpec(spec *specs.Spec) ([]byte, error) {
	shared, err := json.Marshal(named(spec, "", "", ""))
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	return shared, nil
}

// SandboxSpec is an OCI spec with a sandbox's own names in it, and the path of its network namespace; empty: runsc makes one.
func SandboxSpec(spec *specs.Spec, namespace, id, network string) *specs.Spec {
	return named(spec, id, filepath.Join("/", namespace, id), network)
}

// named is a copy of a spec with other names; what has none is shared.
func named(spec *specs.Spec, host, cgroups, network string) *specs.Spec {
	own := *spec
	own.Hostname = host
	if spec.Linux != nil {
		linux := *spec.Linux
		linux.CgroupsPath, own.Linux = cgroups, &linux
		linux.Namespaces = slices.Clone(linux.Namespaces)
		for i, ns := range linux.Namespaces {
			if ns.Type == specs.NetworkNamespace {
				linux.Namespaces[i].Path = network
			}
		}
	}
	return &own
}
