package images

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// BusyboxName is the reference of the default image. Its host exists nowhere, so nothing ever tries to pull it.
const BusyboxName = "sandpool.local/busybox:1"

// sandboxUser is the number of the ordinary user, and of the user's group.
const sandboxUser = 1000

const osRelease = `NAME="Sandpool BusyBox"
ID=sandpool-busybox
VERSION_ID=1
PRETTY_NAME="Sandpool BusyBox 1"
`

// Busybox returns the default image: a static busybox program for the architecture (in Go's words, such as amd64), a
// link for each applet (as `busybox --list-full` prints them, relative to /), the users root and sandbox, and no more.
func Busybox(program []byte, applets []string, architecture string) (Image, error) {
	layer, err := busyboxLayer(program, applets)
	if err != nil {
		return Image{}, fmt.Errorf("make busybox layer: %w", err)
	}
	return Plain(BusyboxName, layer, architecture), nil
}

// Plain returns an image of one layer, a tar archive of a root file system for the architecture, that runs a shell.
func Plain(name string, layer []byte, architecture string) Image {
	return Image{
		Name:     name,
		Platform: ocispec.Platform{OS: "linux", Architecture: architecture},
		Config: ocispec.ImageConfig{
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Cmd:        []string{"/bin/sh"},
			WorkingDir: "/",
		},
		Layers: [][]byte{layer},
	}
}

func busyboxLayer(program []byte, applets []string) ([]byte, error) {
	var buf bytes.Buffer
	t := newTree(&buf)
	for _, dir := range []string{"bin", "dev", "etc", "home", "proc", "root", "run", "sbin", "sys", "usr", "usr/bin", "usr/sbin", "var"} {
		t.dir(dir, 0o755, 0)
	}
	t.dir("home/sandbox", 0o755, sandboxUser)
	t.dir("tmp", 0o1777, 0)
	t.dir("var/tmp", 0o1777, 0)
	t.file("etc/passwd", 0o644, fmt.Appendf(nil,
		"root:x:0:0:root:/root:/bin/sh\nsandbox:x:%[1]d:%[1]d:sandbox:/home/sandbox:/bin/sh\n", sandboxUser))
	t.file("etc/group", 0o644, fmt.Appendf(nil, "root:x:0:\nsandbox:x:%d:\n", sandboxUser))
	t.file("etc/os-release", 0o644, []byte(osRelease))
	t.file("bin/busybox", 0o755, program)
	for _, applet := range slices.Compact(slices.Sorted(slices.Values(applets))) {
		if err := checkApplet(applet); err != nil {
			return nil, err
		}
		if applet != "bin/busybox" {
			t.link(applet, "/bin/busybox")
		}
	}
	err := t.close()
	return buf.Bytes(), err
}

// checkApplet refuses what is not a plain path in a folder of the layer.
func checkApplet(applet string) error {
	folders := []string{"bin", "sbin", "usr/bin", "usr/sbin"}
	if applet != path.Clean(applet) || !slices.Contains(folders, path.Dir(applet)) {
		return fmt.Errorf("applet %q: want a path in one of %s", applet, strings.Join(folders, ", "))
	}
	return nil
}
