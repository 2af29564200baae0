package runtime

import (
	"bytes"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	archives "sandpool/images"
	"sandpool/runtime/image"
	"sandpool/runtime/template"
)

// archiveOf returns an archive of an image with one layer of content, for an architecture.
func archiveOf(t *testing.T, name, arch, content string) []byte {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), content)
	layer, err := archives.Layer(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	image := archives.Image{Name: name, Platform: ocispec.Platform{OS: "linux", Architecture: arch}, Layers: [][]byte{layer}}
	if err := image.WriteArchive(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAnArchiveIsImportedWhenItChanges(t *testing.T) {
	e, told := imageEngine(t, nil)
	path := filepath.Join(t.TempDir(), "a.tar")
	ref := "file://" + path
	const name = "sandpool.local/test-archive:1"
	digests := map[string]bool{}
	for i, content := range []string{"one", "two"} {
		data := archiveOf(t, name, goruntime.GOARCH, content)
		write(t, path, string(data))
		for range 2 {
			p, err := e.Prepare(t.Context(), "a", template.Template{Image: ref})
			if err != nil {
				t.Fatal(err)
			}
			digests[p.digest] = true
			if s := statusOfImage(t, e, ref); s.State != image.Ready || s.Digest != p.digest || s.LayersTotal != 1 || p.image != name+"@"+p.digest {
				t.Errorf("status %+v, image %s", s, p.image)
			}
			if len(*told) != i+1 || len(digests) != i+1 {
				t.Errorf("told %+v, digests %v; want one import of each content", *told, digests)
			}
		}
	}
	// One that was imported and lost a part is imported again.
	if err := e.client.ContentStore().Delete(e.in(t), mustGet(t, e, name).Target.Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Prepare(t.Context(), "a", template.Template{Image: ref}); err != nil || len(*told) != 3 {
		t.Errorf("without its manifest: %v, told %d", err, len(*told))
	}
}

func TestArchivesThatCannotBeUsed(t *testing.T) {
	e, _ := imageEngine(t, nil)
	dir := t.TempDir()
	const name = "sandpool.local/test-bad:1"
	good := archiveOf(t, name, goruntime.GOARCH, strings.Repeat("content of the layer ", 400))
	flipped := bytes.Clone(good)
	flipped[bytes.LastIndex(flipped, []byte("content"))] ^= 1
	for file, test := range map[string]struct {
		data []byte
		want []string
	}{
		"cut.tar":     {good[:len(good)/2], []string{"import: ", "it is cut off"}},
		"flipped.tar": {flipped, []string{"import: ", "is missing or damaged"}},
		"foreign.tar": {archiveOf(t, name, "riscv64", "x"), []string{"import: ", "it is for linux/riscv64, this host is linux/" + goruntime.GOARCH}},
		"text.tar":    {[]byte("not an archive at all"), []string{"import: "}},
		"empty.tar":   {nil, []string{"import: "}},
		"missing.tar": {nil, []string{"import: ", "no such file"}},
	} {
		path := filepath.Join(dir, file)
		write(t, path, string(test.data))
		if file == "missing.tar" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, e, "file://"+path, append(test.want, path)...)
	}
	refused(t, e, "file://"+dir, "import: ", "not a regular file")
	if _, err := e.client.ImageService().Get(e.in(t), name); err == nil {
		t.Error("an archive that cannot be used was given its name")
	}
}

func TestNamesOfOthersAreLeftToThem(t *testing.T) {
	e, _ := imageEngine(t, nil)
	const name = "sandpool.local/test-others:1"
	path := filepath.Join(t.TempDir(), "a.tar")
	write(t, path, string(archiveOf(t, name, goruntime.GOARCH, "x")))
	service := e.client.ImageService()
	theirs := images.Image{Name: name, Target: mustGet(t, e, "sandpool.local/busybox:1").Target}
	if _, err := service.Create(e.in(t), theirs); err != nil {
		t.Fatal(err)
	}
	p, err := e.Prepare(t.Context(), "a", template.Template{Image: "file://" + path})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Images().Prune(t.Context(), func(name string) bool { return name == "default" }, nothing); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Get(e.in(t), p.image); err == nil {
		t.Error("the unused image is still there")
	}
	if _, err := service.Get(e.in(t), name); err != nil {
		t.Errorf("the name that somebody else gave: %v", err)
	}
	if err := service.Delete(e.in(t), name); err != nil {
		t.Fatal(err)
	}
}
