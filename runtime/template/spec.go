package template

import (
	"encoding/json"
	"fmt"
	"path/filepath"

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
func SharedSpec(data []byte) ([]byte, error) {
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("decode spec: %w", err)
	}
	spec.Hostname = ""
	if spec.Linux != nil {
		spec.Linux.CgroupsPath = ""
	}
	shared, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	return shared, nil
}

// SandboxSpec is an OCI spec, from JSON, with a sandbox's own names in it.
func SandboxSpec(data []byte, namespace, id string) (*specs.Spec, error) {
	spec := &specs.Spec{}
	if err := json.Unmarshal(data, spec); err != nil {
		return nil, fmt.Errorf("decode spec: %w", err)
	}
	spec.Hostname = id
	spec.Linux.CgroupsPath = filepath.Join("/", namespace, id)
	return spec, nil
}
