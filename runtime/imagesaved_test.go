package runtime

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/klauspost/compress/zstd"
	ocidigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	archives "sandpool/images"
	"sandpool/runtime/image"
	"sandpool/runtime/template"
)

// saved is an image as `docker save` writes it.
type saved struct {
	names []string
	files map[string]string // of its one layer; without any it has no layer
}

// tarOf returns an archive of some files.
func tarOf(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// save returns an archive of some images as `docker save` writes it.
func save(t *testing.T, list ...saved) []byte {
	t.Helper()
	files := map[string][]byte{}
	type entry struct {
		Config           string
		RepoTags, Layers []string
	}
	entries := []entry{}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for i, image := range list {
		e := entry{Config: fmt.Sprintf("config%d.json", i), RepoTags: image.names}
		config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: goruntime.GOARCH}, RootFS: ocispec.RootFS{Type: "layers"}}
		config.Config.Labels = map[string]string{"n": fmt.Sprint(i)}
		if len(image.files) > 0 {
			dir := t.TempDir()
			for name, text := range image.files {
				write(t, filepath.Join(dir, name), text)
			}
			layer, err := archives.Layer(dir)
			if err != nil {
				t.Fatal(err)
			}
			e.Layers = []string{fmt.Sprintf("layer%d.tar", i)}
			files[e.Layers[0]], config.RootFS.DiffIDs = layer, []ocidigest.Digest{ocidigest.FromBytes(layer)}
		}
		files[e.Config] = encode(config)
		entries = append(entries, e)
	}
	files["manifest.json"] = encode(entries)
	return tarOf(t, files)
}

// compressed returns data as a program that compresses writes it, in as many members as there are parts.
func compressed(t *testing.T, writer func(io.Writer) io.WriteCloser, parts ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, part := range parts {
		w := writer(&out)
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func gzipped(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

func zstdPlain(w io.Writer) io.WriteCloser {
	z, err := zstd.NewWriter(w)
	if err != nil {
		panic(err)
	}
	return z
}

func TestCompressedArchives(t *testing.T) {
	e, told := imageEngine(t, nil)
	dir := t.TempDir()
	for i, test := range []struct {
		file   string
		writer func(io.Writer) io.WriteCloser
		cut    bool // into two members
	}{{"a.tar.gz", gzipped, false}, {"b.tgz", gzipped, true}, {"c.tar.zst", zstdPlain, false}, {"d.tar.zst", zstdPlain, true}} {
		data := archiveOf(t, "sandpool.local/test-compressed:1", goruntime.GOARCH, test.file)
		parts := [][]byte{data}
		if test.cut {
			parts = [][]byte{data[:1000], data[1000:]}
		}
		packed := compressed(t, test.writer, parts...)
		path := filepath.Join(dir, test.file)
		write(t, path, string(packed))
		for range 2 {
			if err := prepare(t.Context(), e, "a", template.Template{Image: "file://" + path}); err != nil {
				t.Errorf("%s: %v", test.file, err)
			}
		}
		if len(*told) != i+1 {
			t.Errorf("%s: told %+v; want one import of each", test.file, *told)
		}
		write(t, path, string(packed[:len(packed)-5]))
		refused(t, e, "file://"+path, "import: ", "it is cut off")
		*told = (*told)[:i+1]
	}
	good := archiveOf(t, "sandpool.local/test-compressed:1", goruntime.GOARCH, "x")
	for file, test := range map[string]struct {
		data []byte
		want string
	}{
		"a.tar.xz":  {[]byte("\xfd7zXZ\x00\x00\x04"), "it is compressed by xz: unpack it, or compress it by gzip or zstd"},
		"a.tar.bz2": {[]byte("BZh91AY&SY"), "it is compressed by bzip2: unpack it"},
		"twice.gz":  {compressed(t, gzipped, compressed(t, gzipped, good)), "it is no archive of an image"},
		"text.gz":   {compressed(t, gzipped, []byte(strings.Repeat("text", 1000))), "it is no archive of an image"},
		"files.tar": {tarOf(t, map[string][]byte{"a": []byte("b")}), "it is no archive of an image: make one with `docker save NAME`"},
		"bad.gz":    {append(bytes.Clone(compressed(t, gzipped, good)[:100]), make([]byte, 100)...), "decompress: "},
		"long.zst":  {[]byte("\x28\xb5\x2f\xfd\x00\x98\x00\x00\x00\x00"), "a window of more than 128 MiB: compress it without --long"},
	} {
		write(t, filepath.Join(dir, file), string(test.data))
		refused(t, e, "file://"+filepath.Join(dir, file), "import: ", test.want)
	}
}

func TestSavedImages(t *testing.T) {
	e, _ := imageEngine(t, nil)
	dir := t.TempDir()
	ref := func(file string, list ...saved) string {
		path := filepath.Join(dir, file)
		write(t, path, string(save(t, list...)))
		return "file://" + path
	}
	files := map[string]string{"file": "content"}
	const one, two = "sandpool.local/test-saved:1", "sandpool.local/test-saved:latest"
	if err := prepare(t.Context(), e, "tags", template.Template{Image: ref("tags.tar", saved{[]string{one, two}, files})}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{one, two} {
		if i, err := e.client.ImageService().Get(e.in(t), name); err != nil || i.Target.Digest.String() != prepared["tags"].digest {
			t.Errorf("%s: %v, %v; want both names on the one image", name, i.Target.Digest, err)
		}
	}
	nameless := ref("id.tar", saved{nil, files})
	for range 2 { // once imported, once found
		if err := prepare(t.Context(), e, "nameless", template.Template{Image: nameless}); err != nil {
			t.Error(err)
		}
	}
	refused(t, e, ref("many.tar", saved{[]string{one, two}, files}, saved{[]string{"sandpool.local/test-other:1"}, files}),
		"import: ", "it holds 2 images", one, two, "sandpool.local/test-other:1", "`docker save NAME`")
	refused(t, e, ref("ids.tar", saved{nil, files}, saved{nil, files}), "import: ", "it holds 2 images", "`docker save NAME`")
	refused(t, e, ref("none.tar"), "import: ", "it holds no image")

	if err := prepare(t.Context(), e, "layerless", template.Template{Image: ref("layerless.tar", saved{[]string{"sandpool.local/test-none:1"}, nil})}); err != nil {
		t.Fatal(err)
	}
	if err := e.Images().Prune(t.Context(), all, nothing); err != nil {
		t.Error(err)
	}
	collect(t, e)
	id := startFrom(t, e, "layerless")
	if code, out := run(t, e, id, "", template.InitPath, "ready"); code != 0 {
		t.Errorf("in an image without layers: %d %s", code, out)
	}
	if err := os.Remove(filepath.Join(dir, "layerless.tar")); err != nil {
		t.Fatal(err)
	}
	refused(t, e, "file://"+filepath.Join(dir, "layerless.tar"), "import: ", "no such file")
}

// TestAnArchiveLeavesNothingToOthers has archives whose parts have the same names, as some programs write them.
func TestAnArchiveLeavesNothingToOthers(t *testing.T) {
	e, _ := imageEngine(t, nil)
	dir := t.TempDir()
	const name = "sandpool.local/test-parts:1"
	var refs []string
	for i := range 2 {
		layer := tarOf(t, map[string][]byte{"file": bytes.Repeat([]byte{byte('a' + i)}, 3<<20)})
		data := saveLayer(t, name, layer)
		refs = append(refs, "file://"+filepath.Join(dir, fmt.Sprintf("cut%d.tar", i)), "file://"+filepath.Join(dir, fmt.Sprintf("whole%d.tar", i)))
		write(t, filepath.Join(dir, fmt.Sprintf("cut%d.tar", i)), string(data[:bytes.Index(data, layer)+2<<20]))
		write(t, filepath.Join(dir, fmt.Sprintf("whole%d.tar", i)), string(data))
	}
	refused(t, e, refs[0], "import: ", "it is cut off")
	if err := prepare(t.Context(), e, "a", template.Template{Image: refs[3]}); err != nil {
		t.Errorf("after another archive that was cut off: %v", err)
	}
	refused(t, e, refs[2], "import: ", "it is cut off")
	if err := prepare(t.Context(), e, "b", template.Template{Image: refs[1]}); err != nil {
		t.Errorf("after another archive that was cut off: %v", err)
	}
	if left, err := e.client.ContentStore().ListStatuses(e.in(t)); err != nil || len(left) > 0 {
		t.Errorf("%+v, %v are left of writes", left, err)
	}
}

func TestImagesThatAreTooLarge(t *testing.T) {
	e, _ := imageEngine(t, func(p *image.Policy) { p.MaxUnpacked = 4 << 20 })
	dir := t.TempDir()
	ref := func(file string, data []byte) string {
		write(t, filepath.Join(dir, file), string(data))
		return "file://" + filepath.Join(dir, file)
	}
	const words = "it unpacks to more than 4 MiB: raise images.max_unpacked_mib"
	const name = "sandpool.local/test-large:1"
	zeros := tarOf(t, map[string][]byte{"zeros": make([]byte, 8<<20)})
	refused(t, e, ref("layer.tar", saveLayer(t, name, zeros)), "import: ", words)
	refused(t, e, ref("archive.tar.gz", compressed(t, gzipped, saveLayer(t, name, zeros))), "import: ", words)
	refused(t, e, ref("packed.tar", saveLayer(t, name, compressed(t, gzipped, zeros))), "unpack: layer sha256:", words)
	refused(t, e, ref("hole.tar", saveLayer(t, name, sparse(t, 1<<30))), "unpack: layer sha256:", words)
	many := map[string][]byte{}
	for i := range 1500 {
		many[fmt.Sprintf("file%04d", i)] = nil
	}
	refused(t, e, ref("many.tar", saveLayer(t, name, compressed(t, zstdPlain, tarOf(t, many)))), "unpack: layer sha256:", words)

	r := newRegistry(t)
	r.push(t, "large:1", newImage(t, goruntime.GOARCH, 70)) // layers of 64 KiB that cannot be compressed
	refused(t, e, r.host+"/large:1", "pull: ", words)

	if err := prepare(t.Context(), e, "a", template.Template{Image: ref("good.tar", saveLayer(t, name, tarOf(t, map[string][]byte{"zeros": make([]byte, 1<<20)})))}); err != nil {
		t.Error(err)
	}
	policy := e.cfg.Images
	policy.KeepFree = 1 << 60
	e.Images().SetPolicy(policy)
	refused(t, e, ref("full.tar", saveLayer(t, name, tarOf(t, map[string][]byte{"other": nil}))), "import: ", "reserves.disk_mib")
}

// saveLayer returns an archive as `docker save` writes it of an image with one layer, which may be compressed.
func saveLayer(t *testing.T, name string, layer []byte) []byte {
	t.Helper()
	plain, err := compression.DecompressStream(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	content, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: goruntime.GOARCH},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []ocidigest.Digest{ocidigest.FromBytes(content)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Appendf(nil, `[{"Config": "config.json", "RepoTags": [%q], "Layers": ["layer.tar"]}]`, name)
	return tarOf(t, map[string][]byte{"config.json": config, "manifest.json": manifest, "layer.tar": layer})
}

// sparse returns an archive of one file that is all hole but for a byte, in the format of GNU tar.
func sparse(t *testing.T, size int64) []byte {
	t.Helper()
	out := tarOf(t, map[string][]byte{"hole": {1}})
	header := out[:512]
	octal := func(at, digits int, n int64) {
		copy(header[at:], fmt.Sprintf("%0*o\x00", digits, n))
	}
	number := func(at int, n int64) { // GNU's own, for what is too large for octal digits
		clear(header[at : at+12])
		header[at] = 0x80
		for i := range 8 {
			header[at+11-i] = byte(n >> (8 * i))
		}
	}
	header[156] = tar.TypeGNUSparse
	copy(header[257:], "ustar  \x00")
	clear(header[345:512])
	number(386, 0)       // offset of the first part
	number(398, 1)       // and its size
	number(386+24, size) // the last part has no size, and says where the file ends
	number(398+24, 0)
	number(483, size)
	copy(header[148:], "        ")
	sum := int64(0)
	for _, b := range header {
		sum += int64(b)
	}
	octal(148, 6, sum)
	header[155] = ' '
	return out
}
