package runtime

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	archives "sandpool/images"
	"sandpool/runtime/template"
)

// baseLayer is the one layer of the default image.
func baseLayer(t *testing.T) []byte {
	t.Helper()
	file, err := os.Open(host.Image)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	blobs := map[string][]byte{}
	for r := tar.NewReader(file); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		data, readErr := io.ReadAll(r)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		blobs[filepath.Base(header.Name)] = data
	}
	var index ocispec.Index
	var manifest ocispec.Manifest
	err = json.Unmarshal(blobs["index.json"], &index)
	if err == nil {
		err = json.Unmarshal(blobs[index.Manifests[0].Digest.Encoded()], &manifest)
	}
	if err != nil || len(manifest.Layers) != 1 {
		t.Fatalf("%v; %d layers, want one", err, len(manifest.Layers))
	}
	return blobs[manifest.Layers[0].Digest.Encoded()]
}

// layerOf is a layer that has these entries. One that is removed from the layers below has the prefix .wh.
func layerOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		content := e.PAXRecords["SANDPOOL.content"]
		e.PAXRecords, e.Size = nil, int64(len(content))
		if e.Typeflag == 0 {
			e.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(&e); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func fileEntry(name, content string) tar.Header {
	return tar.Header{Name: name, Mode: 0o644, PAXRecords: map[string]string{"SANDPOOL.content": content}}
}

func linkEntry(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
}

func folderEntry(name string, mode int64, uid int) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: uid, Gid: uid}
}

// oddImage is what an image has beside the default one.
type oddImage struct {
	config  ocispec.ImageConfig
	entries []tar.Header
	change  func(*template.Template)
	// Either the sandbox starts and these commands of its shell print this, with white space joined, …
	want map[string]string
	// … or it does not, for a reason that has this in it.
	step, refusal string
}

const ownUsers = "root:x:0:0::/root:/bin/sh\nsandbox:x:1000:1000::/home/sandbox:/bin/sh\n"

// oddImages are of the kinds that real ones are.
var oddImages = map[string]oddImage{
	"no PATH in its environment": {
		config: ocispec.ImageConfig{Env: []string{"FOO=bar"}},
		want:   map[string]string{"echo $FOO; env | grep ^PATH=": "bar PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	},
	"variables without a value or a name": {
		config: ocispec.ImageConfig{Env: []string{"PATH=/bin", "FOO", "=x", "BAR=1", "NUL=a\x00b", "BAR=2"}},
		want:   map[string]string{"env | grep -e FOO -e BAR -e NUL -e PATH | sort": "BAR=2 PATH=/bin"},
	},
	"a user that it does not have": {
		config: ocispec.ImageConfig{User: "app"},
		step:   StepSettings, refusal: `user "app" is not in the image's /etc/passwd: the image's user can be replaced by the template's user`,
	},
	"a user that it does not have, replaced by a number": {
		config: ocispec.ImageConfig{User: "app"}, change: func(t *template.Template) { t.User = "1234" },
		want: map[string]string{"id -u; id -g; id -G": "1234 0 0"},
	},
	"a user that it does not have, replaced by a name": {
		config: ocispec.ImageConfig{User: "app"}, change: func(t *template.Template) { t.User = "sandbox" },
		want: map[string]string{"id -u; id -g; id -G": "1000 1000 1000"},
	},
	"users and groups": {
		config:  ocispec.ImageConfig{User: "sandbox"},
		entries: []tar.Header{fileEntry("etc/group", "root:x:0:\nsandbox:x:1000:sandbox\nstaff:x:50:other,sandbox\nother:x:51:other\n")},
		want:    map[string]string{"id -u; id -g; id -G": "1000 1000 1000 50"},
	},
	"links in its files of users": {
		config:  ocispec.ImageConfig{User: "sandbox"},
		entries: []tar.Header{linkEntry("etc/passwd", "/nix/passwd"), folderEntry("nix", 0o755, 0), fileEntry("nix/passwd", ownUsers)},
		want:    map[string]string{"id -u": "1000"},
	},
	"a link to the host's users": {
		config:  ocispec.ImageConfig{User: "games"}, // which Debian's hosts have
		entries: []tar.Header{linkEntry("etc/passwd", "../../../../../../../../proc/1/root/etc/passwd")},
		step:    StepSettings, refusal: `user "games" is not in the image's /etc/passwd`,
	},
	"users in a named pipe": {
		entries: []tar.Header{{Typeflag: tar.TypeFifo, Name: "etc/passwd", Mode: 0o644}}, change: func(t *template.Template) { t.User = "sandbox" },
		step: StepSettings, refusal: "/etc/passwd in the image is a named pipe, not a file: mend the template's user",
	},
	"users in a named pipe, not asked for": {
		entries: []tar.Header{{Typeflag: tar.TypeFifo, Name: "etc/passwd", Mode: 0o644}}, change: func(t *template.Template) { t.User = "7:8" },
		want: map[string]string{"id -u; id -g; id -G": "7 8 8"},
	},
	"groups in a folder": {
		entries: []tar.Header{folderEntry("etc/group", 0o755, 0)}, change: func(t *template.Template) { t.User = "sandbox" },
		step: StepSettings, refusal: "/etc/group in the image is a folder, not a file",
	},
	"users in a huge file": {
		config: ocispec.ImageConfig{User: "sandbox"}, entries: []tar.Header{fileEntry("etc/passwd", strings.Repeat(ownUsers, 1<<16))},
		step: StepSettings, refusal: "/etc/passwd in the image has ",
	},
	"no users": {
		entries: []tar.Header{fileEntry("etc/.wh.passwd", ""), fileEntry("etc/.wh.group", "")},
		want:    map[string]string{"id -u; id -G": "0 0"},
	},
	"a relative working folder": {
		config: ocispec.ImageConfig{WorkingDir: "app"}, want: map[string]string{"pwd": "/app"},
	},
	"a working folder behind a link to nowhere": {
		config: ocispec.ImageConfig{WorkingDir: "/app/src"}, entries: []tar.Header{linkEntry("app", "srv/app")},
		want: map[string]string{"pwd -P": "/srv/app/src"},
	},
	"a file as its working folder": {
		config: ocispec.ImageConfig{WorkingDir: "/etc/passwd/x"},
		step:   StepSettings, refusal: "working folder (cwd): /etc/passwd in the image is a file, not a folder: set the template's cwd",
	},
	"another user's working folder": {
		config: ocispec.ImageConfig{WorkingDir: "/home/x", User: "1001"}, entries: []tar.Header{folderEntry("home/x", 0o700, 1000)},
		want: map[string]string{"pwd; ls /home/x 2>&1 | grep -o denied": "/home/x denied"},
	},
	"/run is a link to nowhere": {
		entries: []tar.Header{fileEntry(".wh.run", ""), linkEntry("run", "/var/volatile/run")},
		want:    map[string]string{"echo x > /run/x; cat /var/volatile/run/x; df /run | awk 'END {print $1, $NF}'": "x none /var/volatile/run"},
	},
	"/run is a file": {
		entries: []tar.Header{fileEntry(".wh.run", ""), fileEntry("run", "x")},
		step:    StepSettings, refusal: "mount on /run: /run in the image is not of the kind that is mounted there: mend the image",
	},
	"/run leads in a circle": {
		entries: []tar.Header{fileEntry(".wh.run", ""), linkEntry("run", "/run/x")},
		step:    StepSettings, refusal: `mount on /run: "/run" in the image leads through too many links`,
	},
	"/run leads to the root": {
		entries: []tar.Header{fileEntry(".wh.run", ""), linkEntry("run", "..")},
		step:    StepSettings, refusal: "mount on /run: in the image it is a link to /, where nothing can be mounted",
	},
	"/dev is a link to nowhere": {
		entries: []tar.Header{fileEntry(".wh.dev", ""), linkEntry("dev", "nowhere")},
		step:    StepSettings, refusal: "mount on /dev: in the image it is a link to /nowhere, which is not there",
	},
	"/tmp is a link": {
		entries: []tar.Header{fileEntry(".wh.tmp", ""), linkEntry("tmp", "var/tmp")},
		want:    map[string]string{"echo x > /tmp/x; cat /var/tmp/x; df -k /tmp | awk 'END {print $2}'": "x 65536"},
	},
	"/tmp is a link to nowhere": {
		entries: []tar.Header{fileEntry(".wh.tmp", ""), linkEntry("tmp", "/var/volatile/tmp")},
		want:    map[string]string{"echo x > /tmp/x; cat /var/volatile/tmp/x; df -k /tmp | awk 'END {print $2}'": "x 65536"},
	},
	"/tmp is a link and is mounted": {
		entries: []tar.Header{fileEntry(".wh.tmp", ""), linkEntry("tmp", "var/tmp")}, change: func(t *template.Template) { t.Mounts = []template.Mount{{Target: "/tmp", Size: 1 << 20}} },
		want: map[string]string{"df -k /tmp | awk 'END {print $2}'": "1024"},
	},
	"a mount behind a link": {
		entries: []tar.Header{linkEntry("data", "/srv/data")}, change: func(t *template.Template) { t.Mounts = []template.Mount{{Target: "/data/in", Size: 1 << 20}} },
		want: map[string]string{"df -k /srv/data/in | awk 'END {print $2}'": "1024"},
	},
}

// prepareOdd prepares the template of an odd image.
func prepareOdd(t *testing.T, e *Engine, name string, odd oddImage) error {
	t.Helper()
	image := archives.Image{
		Name:     "sandpool.local/odd-" + strings.ToLower(strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r < 'A' || r > 'z' }), "-")) + ":1",
		Platform: ocispec.Platform{OS: "linux", Architecture: goruntime.GOARCH}, Config: odd.config,
		Layers: [][]byte{baseLayer(t)},
	}
	if len(odd.entries) > 0 {
		image.Layers = append(image.Layers, layerOf(t, odd.entries...))
	}
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "odd.tar")
	if err := image.WriteArchive(&out); err != nil {
		t.Fatal(err)
	}
	write(t, path, out.String())
	template := template.Template{Image: "file://" + path, Limits: template.Limits{Memory: 128 << 20}}
	if odd.change != nil {
		odd.change(&template)
	}
	return prepare(t.Context(), e, "odd", template)
}

// Any image is ready, or the error names the template, the step and what to do.
func TestOddImages(t *testing.T) {
	e := openEngine(t, testConfig(t))
	for _, name := range slices.Sorted(maps.Keys(oddImages)) {
		t.Run(name, func(t *testing.T) {
			odd := oddImages[name]
			err := prepareOdd(t, e, name, odd)
			if odd.refusal != "" {
				if stepOf(err) != odd.step || !strings.HasPrefix(err.Error(), `prepare template "odd": `) || !strings.Contains(err.Error(), odd.refusal) {
					t.Errorf("step %q, %v; want step %s and %q", stepOf(err), err, odd.step, odd.refusal)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			id := startFrom(t, e, "odd")
			for command, want := range odd.want {
				if _, out := run(t, e, id, "", "sh", "-c", command); strings.Join(strings.Fields(out), " ") != want {
					t.Errorf("%s: %q, want %q", command, out, want)
				}
			}
		})
	}
}
