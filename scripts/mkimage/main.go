// Command mkimage writes the archive of an image: the default one, made from a static busybox program, or that with the
// files of a folder over it, under another name, or one that is nothing but a layer, such as mmdebstrap makes.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"sandpool/images"
)

func main() {
	busybox := flag.String("busybox", "", "the static busybox `program`")
	root := flag.String("root", "", "a `folder` whose files are put over busybox")
	layer := flag.String("layer", "", "a tar `file` that is the whole image, instead of busybox")
	name := flag.String("name", images.BusyboxName, "the image's `reference`")
	output := flag.String("o", "", "the archive `file` to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := func() error { return run(ctx, *busybox, *root, *name, *output) }
	if *layer != "" {
		do = func() error { return wrap(*layer, *name, *output) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

func run(ctx context.Context, busybox, root, name, output string) error {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	list, err := exec.CommandContext(ctx, busybox, "--list-full").Output()
	if err != nil {
		return fmt.Errorf("list applets of %s: %w", busybox, err)
	}
	applets := slices.DeleteFunc(strings.Fields(string(list)), func(applet string) bool {
		return applet == "linuxrc" // the init of a boot disk
	})
	image, err := images.Busybox(program, applets, runtime.GOARCH)
	if err != nil {
		return err
	}
	image.Name = name
	if root != "" {
		layer, err := images.Layer(root)
		if err != nil {
			return err
		}
		image.Layers = append(image.Layers, layer)
	}
	return write(image, output)
}

// wrap makes an image of one layer.
func wrap(layer, name, output string) error {
	data, err := os.ReadFile(layer)
	if err != nil {
		return err
	}
	return write(images.Plain(name, data, runtime.GOARCH), output)
}

func write(image images.Image, output string) error {
	var archive bytes.Buffer
	if err := image.WriteArchive(&archive); err != nil {
		return err
	}
	return replace(output, archive.Bytes())
}

// replace writes the file whole or not at all.
func replace(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".mkimage-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if _, err = tmp.Write(data); err == nil {
		err = tmp.Chmod(0o644)
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}
