// Package images makes the container images that the project ships, without a registry and without a container engine.
//
// An image is written as an OCI layout in a tar archive, which `ctr images import` and its like take as it is.
// The same input gives the same bytes, so an image's digest is a name for its content.
package images

import (
	"archive/tar"
	"bytes"
	_ "crypto/sha256" // go-digest looks it up at run time
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// epoch is the time of every file and image: a build has no time of its own.
var epoch = time.Unix(0, 0).UTC()

// nameAnnotation is containerd's: import names the image by it, and by nothing else that may hold a slash.
const nameAnnotation = "io.containerd.image.name"

// Image is a container image.
type Image struct {
	Name     string              // its reference in full, such as sandpool.local/busybox:1
	Platform ocispec.Platform    // what it runs on
	Config   ocispec.ImageConfig // its command, environment and so on
	Layers   [][]byte            // its root file system: tar archives, each over those before it
}

// WriteArchive writes the image to w.
func (i Image) WriteArchive(w io.Writer) error {
	var layers []ocispec.Descriptor
	var diffs []digest.Digest
	for _, layer := range i.Layers {
		d := describe(ocispec.MediaTypeImageLayer, layer)
		layers, diffs = append(layers, d), append(diffs, d.Digest)
	}
	// Without a history of each layer builders of further images would guess one.
	history := make([]ocispec.History, len(layers))
	for n := range history {
		history[n] = ocispec.History{Created: &epoch, CreatedBy: "sandpool"}
	}
	config, err := json.Marshal(ocispec.Image{
		Created:  &epoch,
		Platform: i.Platform,
		Config:   i.Config,
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: diffs},
		History:  history,
	})
	if err != nil {
		return fmt.Errorf("encode image config: %w", err)
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    describe(ocispec.MediaTypeImageConfig, config),
		Layers:    layers,
	})
	if err != nil {
		return fmt.Errorf("encode image manifest: %w", err)
	}
	index, err := i.index(manifest)
	if err != nil {
		return fmt.Errorf("encode image index: %w", err)
	}
	layout := fmt.Appendf(nil, "{\"imageLayoutVersion\":%q}", ocispec.ImageLayoutVersion)
	t := newTree(w)
	t.file(ocispec.ImageLayoutFile, 0o644, layout)
	t.file(ocispec.ImageIndexFile, 0o644, index)
	for _, blob := range append([][]byte{manifest, config}, i.Layers...) {
		t.file(ocispec.ImageBlobsDir+"/sha256/"+digest.FromBytes(blob).Encoded(), 0o644, blob)
	}
	return t.close()
}

func (i Image) index(manifest []byte) ([]byte, error) {
	entry := describe(ocispec.MediaTypeImageManifest, manifest)
	entry.Platform = &i.Platform
	entry.Annotations = map[string]string{nameAnnotation: i.Name, ocispec.AnnotationRefName: i.Name}
	return json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{entry},
	})
}

func describe(mediaType string, blob []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
}

// tree writes a tar archive whose bytes depend on nothing but what is put in. The first error stays.
type tree struct {
	tar *tar.Writer
	err error
}

func newTree(w io.Writer) *tree { return &tree{tar: tar.NewWriter(w)} }

func (t *tree) add(h tar.Header, content []byte) {
	if t.err != nil {
		return
	}
	h.ModTime, h.Format, h.Size = epoch, tar.FormatUSTAR, int64(len(content))
	if t.err = t.tar.WriteHeader(&h); t.err == nil {
		_, t.err = io.Copy(t.tar, bytes.NewReader(content))
	}
	if t.err != nil {
		t.err = fmt.Errorf("write %s: %w", h.Name, t.err)
	}
}

func (t *tree) file(name string, mode int64, content []byte) {
	t.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content)
}

func (t *tree) link(name, target string) {
	t.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

// dir adds a folder that belongs to the user and group with the number owner.
func (t *tree) dir(name string, mode int64, owner int) {
	t.add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner}, nil)
}

func (t *tree) close() error {
	if t.err != nil {
		return t.err
	}
	return t.tar.Close()
}
