package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var applets = []string{"usr/bin/wc", "bin/sh", "bin/busybox", "sbin/init", "bin/sh"}

func archive(t *testing.T, program string, applets []string) []byte {
	t.Helper()
	image, err := Busybox([]byte(program), applets, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := image.WriteArchive(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// unpack returns the headers and the contents of a tar archive, by name.
func unpack(t *testing.T, data []byte) (map[string]*tar.Header, map[string][]byte) {
	t.Helper()
	headers, contents := map[string]*tar.Header{}, map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if headers[h.Name] != nil {
			t.Errorf("%s is there twice", h.Name)
		}
		headers[h.Name] = h
		if contents[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func decode[T any](t *testing.T, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func blob(t *testing.T, contents map[string][]byte, d ocispec.Descriptor) []byte {
	t.Helper()
	data, ok := contents["blobs/sha256/"+d.Digest.Encoded()]
	if !ok || int64(len(data)) != d.Size || digest.FromBytes(data) != d.Digest {
		t.Fatalf("blob %s: present %t, %d bytes of %d", d.Digest, ok, len(data), d.Size)
	}
	return data
}

func TestReproducible(t *testing.T) {
	one := archive(t, "program", applets)
	if !bytes.Equal(one, archive(t, "program", []string{"sbin/init", "bin/sh", "usr/bin/wc"})) {
		t.Error("the order of the applets changes the archive")
	}
	if bytes.Equal(one, archive(t, "another", applets)) {
		t.Error("the program does not change the archive")
	}
}

func TestLayout(t *testing.T) {
	_, contents := unpack(t, archive(t, "program", applets))
	index := decode[ocispec.Index](t, contents[ocispec.ImageIndexFile])
	if len(index.Manifests) != 1 || index.Manifests[0].Annotations["io.containerd.image.name"] != BusyboxName {
		t.Fatalf("index %+v does not name %s", index, BusyboxName)
	}
	manifest := decode[ocispec.Manifest](t, blob(t, contents, index.Manifests[0]))
	config := decode[ocispec.Image](t, blob(t, contents, manifest.Config))
	if config.Architecture != "amd64" || config.OS != "linux" || strings.Join(config.Config.Cmd, " ") != "/bin/sh" {
		t.Errorf("config %+v", config)
	}
	layer := blob(t, contents, manifest.Layers[0])
	if len(manifest.Layers) != 1 || config.RootFS.DiffIDs[0] != digest.FromBytes(layer) {
		t.Errorf("%d layers, or a diff id that is not the layer's", len(manifest.Layers))
	}
}

func TestFiles(t *testing.T) {
	image, err := Busybox([]byte("program"), applets, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	headers, contents := unpack(t, image.Layers[0])
	for name, want := range map[string]struct {
		mode  int64
		owner int
		link  string
	}{
		"tmp/":          {mode: 0o1777},
		"home/sandbox/": {mode: 0o755, owner: 1000},
		"bin/busybox":   {mode: 0o755},
		"bin/sh":        {mode: 0o777, link: "/bin/busybox"},
		"usr/bin/wc":    {mode: 0o777, link: "/bin/busybox"},
		"etc/passwd":    {mode: 0o644},
	} {
		h := headers[name]
		if h == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if h.Mode != want.mode || h.Uid != want.owner || h.Gid != want.owner || h.Linkname != want.link || h.ModTime.Unix() != 0 {
			t.Errorf("%s: %+v, want %+v at time 0", name, h, want)
		}
	}
	if !strings.Contains(string(contents["etc/passwd"]), "sandbox:x:1000:1000:") {
		t.Errorf("no sandbox user in %q", contents["etc/passwd"])
	}
	if string(contents["bin/busybox"]) != "program" {
		t.Errorf("busybox is %q", contents["bin/busybox"])
	}
}

func TestBadApplets(t *testing.T) {
	for _, applet := range []string{"sh", "/bin/sh", "../bin/sh", "bin/../sh", "etc/passwd", "bin/a/b", ""} {
		if _, err := Busybox(nil, []string{applet}, "amd64"); err == nil {
			t.Errorf("applet %q was accepted", applet)
		}
	}
}
