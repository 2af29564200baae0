package images

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// someFiles makes a folder to pack; the order in which its files are made is the caller's.
func someFiles(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("tool", filepath.Join(root, "usr/bin/link")); err != nil {
		t.Fatal(err)
	}
	return root
}

func layer(t *testing.T, root string) []byte {
	t.Helper()
	data, err := Layer(root)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLayer(t *testing.T) {
	one := layer(t, someFiles(t, "usr/bin/tool", "etc/a"))
	if !bytes.Equal(one, layer(t, someFiles(t, "etc/a", "usr/bin/tool"))) {
		t.Error("the folder, or the order in which its files were made, changes the layer")
	}
	headers, contents := unpack(t, one)
	if len(headers) != 6 || string(contents["usr/bin/tool"]) != "usr/bin/tool" || headers["usr/bin/link"].Linkname != "tool" {
		t.Errorf("headers %v, contents %q", headers, contents)
	}
	for name, h := range headers {
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Mode&0o755 != 0o755 || strings.HasSuffix(name, "/") != h.FileInfo().IsDir() {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

func TestLayerRefusesPipes(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Layer(root); err == nil || !strings.Contains(err.Error(), "pipe") {
		t.Errorf("error %v, want one about the pipe", err)
	}
	if _, err := Layer(filepath.Join(root, "missing")); err == nil {
		t.Error("no error without a folder")
	}
}

func TestLayersKeepTheirOrder(t *testing.T) {
	image, err := Busybox([]byte("program"), applets, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	image.Layers = append(image.Layers, layer(t, someFiles(t, "usr/bin/tool")))
	var buf bytes.Buffer
	if err := image.WriteArchive(&buf); err != nil {
		t.Fatal(err)
	}
	_, contents := unpack(t, buf.Bytes())
	index := decode[ocispec.Index](t, contents[ocispec.ImageIndexFile])
	manifest := decode[ocispec.Manifest](t, blob(t, contents, index.Manifests[0]))
	config := decode[ocispec.Image](t, blob(t, contents, manifest.Config))
	var got []digest.Digest
	for i, l := range manifest.Layers {
		if !bytes.Equal(blob(t, contents, l), image.Layers[i]) {
			t.Errorf("layer %d is another", i)
		}
		got = append(got, l.Digest)
	}
	if len(got) != 2 || !slices.Equal(got, config.RootFS.DiffIDs) {
		t.Errorf("layers %v, in the config %v", got, config.RootFS.DiffIDs)
	}
}
