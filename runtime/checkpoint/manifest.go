package checkpoint

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/runtime/atomicfile"
)

// version is that of the manifest's format.
const version = 1

// manifestFile describes the other files of its folder.
const manifestFile = "manifest.json"

// idPattern is what a checkpoint's id looks like.
var idPattern = regexp.MustCompile(`^ck-[a-z2-7]{16}$`)

// ValidID tells whether a text can be the id of a checkpoint.
func ValidID(text string) bool { return idPattern.MatchString(text) }

// Manifest describes a checkpoint. The store fills in Version, ID, Seq, CreatedAt, Compatibility, Files and Bytes.
type Manifest struct {
	Version   int       `json:"version"`
	ID        string    `json:"id"`
	Seq       uint64    `json:"seq,omitempty"` // higher than that of any older one; 0 with daemons that gave none
	CreatedAt time.Time `json:"created_at"`

	Claim    string `json:"claim,omitempty"`
	Sandbox  string `json:"sandbox,omitempty"`
	Template string `json:"template,omitempty"`
	Pool     string `json:"pool,omitempty"`
	Owner    string `json:"owner,omitempty"`
	Trigger  string `json:"trigger,omitempty"` // why it was taken
	Comment  string `json:"comment,omitempty"`
	Parent   string `json:"parent,omitempty"` // the checkpoint that its sandbox was restored from

	Network string `json:"network,omitempty"` // what the claim might connect to, as its label says; empty: nothing

	Fingerprint string `json:"fingerprint,omitempty"` // of the template that it is the snapshot of

	Compatibility Compatibility `json:"fit"`
	Files         []File        `json:"files"`
	Bytes         int64         `json:"bytes"` // of all files
}

// File is one file of a checkpoint.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // in hexadecimal
}

// Compatibility is what must be the same where a checkpoint is restored as where it was taken.
type Compatibility struct {
	Runsc       string `json:"runsc"` // version
	Platform    string `json:"platform"`
	CPU         string `json:"cpu"`      // model, and a hash of its features
	Settings    string `json:"settings"` // flags of runsc
	Init        string `json:"init"`     // hash of the sandboxes' init
	Image       string `json:"image"`
	ImageDigest string `json:"image_digest"`
	Layers      string `json:"layers"` // chain id of the image's layers
	Spec        string `json:"spec"`   // hash of the OCI spec without the sandbox's own names
}

// Check compares a checkpoint's fit with what there is now. Its error, of class FailedPrecondition, names all that differs.
func (f Compatibility) Check(now Compatibility) error {
	var differ []string
	for _, field := range []struct{ name, then, now string }{
		{"runsc", f.Runsc, now.Runsc},
		{"platform", f.Platform, now.Platform},
		{"cpu", f.CPU, now.CPU},
		{"settings", f.Settings, now.Settings},
		{"init", f.Init, now.Init},
		{"image", f.Image, now.Image},
		{"image digest", f.ImageDigest, now.ImageDigest},
		{"layers", f.Layers, now.Layers},
		{"spec", f.Spec, now.Spec},
	} {
		if field.then != field.now {
			differ = append(differ, fmt.Sprintf("%s was %q and is %q", field.name, field.then, field.now))
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return errdefs.ErrFailedPrecondition.WithMessage("the checkpoint does not fit: " + strings.Join(differ, "; ") + ": restore it where these are the same")
}

// readManifest reads the manifest of the checkpoint in dir.
func readManifest(dir string) (Manifest, error) {
	var m Manifest
	data, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("decode manifest: %w", err)
	}
	switch {
	case m.Version != version:
		return m, fmt.Errorf("its manifest has version %d, want %d", m.Version, version)
	case m.ID != filepath.Base(dir) || !ValidID(m.ID):
		return m, fmt.Errorf("its manifest is that of checkpoint %q", m.ID)
	}
	for _, f := range m.Files {
		if f.Name != filepath.Base(f.Name) {
			return m, fmt.Errorf("its manifest has a file %q outside the folder", f.Name)
		}
	}
	return m, nil
}

// writeManifest replaces the manifest in dir as a whole.
func writeManifest(dir string, m Manifest) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	return atomicfile.Write(filepath.Join(dir, manifestFile), append(data, '\n'))
}
