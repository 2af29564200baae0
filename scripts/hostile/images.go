package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"sandpool/daemon/wire"
	"sandpool/images"
)

// imageAttacks are images that reach out of their own files. Their templates are made ready when the daemon starts.
var imageAttacks = []attack{
	{"an image with .. in its names", climbs("dots", "cat /climbed")},
	{"an image that writes through its own links", climbs("links", "cat /out/*; ls /up")},
	{"an image with hard links to the host's files", climbs("hardlinks", "cat /shadow /secret /etc/secret")},
	{"an image with whiteouts of the host's files", climbs("whiteouts", "ls /")},
	{"an image with device nodes", climbs("nodes", "for n in block zero kmsg mem; do dd if=/$n bs=512 count=1 2>/dev/null | wc -c | grep -v ^0 | sed \"s/^/READ $n /\"; done; ls -l /block /mem")},
	{"an image with links in place of the daemon's files", climbs("covers", "cat /etc/hosts /etc/hostname /etc/passwd; ls -l /proc /dev/null")},
	{"an image that unpacks to more than its bound", bombed},
	{"a registry that names a realm of its own", stolenPassword},
	{"a registry that redirects to a signed URL", signedURL},
	{"a registry whose manifest has no end", endlessManifest},
}

// target is a file on the host that images try to make, and kept one that they try to remove.
func (g *ground) target() string { return filepath.Join(g.host.Dir, "climbed") }
func (g *ground) kept() string   { return filepath.Join(g.host.Dir, "kept") }

const maxUnpackedMiB = 16

func entry(kind byte, name, link string) tar.Header {
	return tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o777}
}

// climbers are images, each as the entries of its last layer, by the name that their templates begin with. What makes an unpacking fail
// is in an image of its own.
func (g *ground) climbers() map[string][][]tar.Header {
	const up = "../../../../../../../../../../../.."
	target, secret, kept := g.target(), g.secretFile(), g.kept()
	return map[string][][]tar.Header{
		"dots": {{entry(tar.TypeReg, up+target, ""), entry(tar.TypeReg, target+"-absolute", ""), entry(tar.TypeReg, "etc/"+up+target+"-2", ""), entry(tar.TypeDir, up+target+"-folder", ""), entry(tar.TypeReg, "./"+up+target+"-3", "")}},
		"links": {{
			entry(tar.TypeSymlink, "out", g.host.Dir), entry(tar.TypeReg, "out/climbed", ""), entry(tar.TypeSymlink, "up", up), entry(tar.TypeReg, "up"+target+"-2", ""),
			entry(tar.TypeSymlink, "a", "b"), entry(tar.TypeSymlink, "b", up+g.host.Dir), entry(tar.TypeReg, "a/climbed-3", ""), entry(tar.TypeDir, "a/climbed-4", ""),
		}},
		"hardlinks": {
			{entry(tar.TypeLink, "shadow", "/etc/shadow")},
			{entry(tar.TypeLink, "secret", up+secret)},
			{entry(tar.TypeSymlink, "to", secret), entry(tar.TypeLink, "etc/secret", "to")},
			{entry(tar.TypeSymlink, "dir", g.host.Dir), entry(tar.TypeLink, "secret", "dir/root-secret")},
		},
		"whiteouts": {
			{entry(tar.TypeReg, up+filepath.Dir(kept)+"/.wh.kept", "")},
			{entry(tar.TypeReg, ".wh."+up+kept, "")},
			{entry(tar.TypeReg, ".wh...", ""), entry(tar.TypeReg, ".wh..", "")},
			{entry(tar.TypeSymlink, "host", g.host.Dir), entry(tar.TypeReg, "host/.wh.kept", ""), entry(tar.TypeReg, "host/.wh..wh..opq", "")},
		},
		"nodes": {{
			{Typeflag: tar.TypeBlock, Name: "block", Devmajor: 8, Mode: 0o666}, {Typeflag: tar.TypeBlock, Name: "block2", Devmajor: 254, Mode: 0o666}, {Typeflag: tar.TypeChar, Name: "mem", Devmajor: 1, Devminor: 1, Mode: 0o666},
			{Typeflag: tar.TypeChar, Name: "kmsg", Devmajor: 1, Devminor: 11, Mode: 0o666},
		}},
		"covers": {{
			entry(tar.TypeSymlink, "etc/hosts", up+secret), entry(tar.TypeSymlink, "etc/hostname", secret), entry(tar.TypeSymlink, "etc/resolv.conf", secret), entry(tar.TypeReg, "etc/.wh.passwd", ""),
			entry(tar.TypeSymlink, "etc/group", up+"/proc/1/root"+secret), entry(tar.TypeSymlink, ".sandpool", up+g.host.Dir),
		}},
	}
}

// imageTemplates writes the images and returns the text of their templates.
func (g *ground) imageTemplates() (string, error) {
	if err := os.WriteFile(g.kept(), []byte("kept\n"), 0o600); err != nil {
		return "", err
	}
	base, err := g.baseImage()
	if err != nil {
		return "", err
	}
	var text strings.Builder
	add := func(name string, entries []tar.Header, size int64) error {
		layer, err := layerOf(entries, size)
		if err != nil {
			return err
		}
		image := base
		image.Name, image.Layers = "sandpool.local/"+name+":1", [][]byte{base.Layers[0], layer}
		path := filepath.Join(g.host.Dir, name+".tar")
		var archive bytes.Buffer
		if err := image.WriteArchive(&archive); err != nil {
			return err
		}
		text.WriteString(template(name, "file://"+path, "") + pool(name, 0, 2))
		return os.WriteFile(path, archive.Bytes(), 0o600)
	}
	for name, variants := range g.climbers() {
		for i, entries := range variants {
			if err := add(fmt.Sprintf("%s-%d", name, i), entries, 0); err != nil {
				return "", err
			}
		}
	}
	err = add("bomb", []tar.Header{entry(tar.TypeReg, "bomb", "")}, (maxUnpackedMiB+4)<<20)
	return text.String(), err
}

func (g *ground) baseImage() (images.Image, error) {
	path := filepath.Join(filepath.Dir(g.host.Image), "busybox")
	program, err := os.ReadFile(path)
	if err != nil {
		return images.Image{}, err
	}
	list, err := exec.Command(path, "--list-full").Output() //nolint:noctx // it only prints
	if err != nil {
		return images.Image{}, fmt.Errorf("list applets: %w", err)
	}
	applets := slices.DeleteFunc(strings.Fields(string(list)), func(applet string) bool { return !strings.Contains(applet, "/") })
	return images.Busybox(program, applets, goruntime.GOARCH)
}

// layerOf is a layer with these entries, each file with so many bytes.
func layerOf(entries []tar.Header, size int64) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, header := range entries {
		if header.Typeflag == tar.TypeReg {
			header.Size = size
		}
		if err := w.WriteHeader(&header); err != nil {
			return nil, fmt.Errorf("write layer: %s: %w", header.Name, err)
		}
		if _, err := w.Write(make([]byte, header.Size)); err != nil {
			return nil, fmt.Errorf("write layer: %w", err)
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// climbs looks what became of an image on the host, and, if it is not refused, of its sandbox.
func climbs(name, look string) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		for i := range t.climbers()[name] {
			if err := t.climb(ctx, fmt.Sprintf("%s-%d", name, i), look); err != nil {
				return err
			}
		}
		found, err := filepath.Glob(t.target() + "*")
		if err != nil || len(found) > 0 {
			t.through("the image made %v on the host, %v", found, err)
		}
		if text, err := os.ReadFile(t.kept()); err != nil || string(text) != "kept\n" {
			t.through("the image changed a file of the host: %v", err)
		}
		return nil
	}
}

// climb looks at one of these images.
func (t *trial) climb(ctx context.Context, name, look string) error {
	state, err := t.template(ctx, name)
	if err != nil {
		return err
	}
	t.tried()
	t.tells(state.Reason, "the reason of the template "+name)
	if state.State != wire.TemplateReady {
		return nil
	}
	own, err := t.attacker.claim(ctx, fmt.Sprintf(`{"template":%q,"wait":"40s"}`, name))
	if refusal, ok := errors.AsType[*wire.Error](err); ok && refusal.Code == "pool_empty" {
		return nil // its sandbox does not start
	}
	if err != nil {
		return err
	}
	_, out, err := t.attacker.shell(ctx, own.ID, look)
	t.tells(out, "a sandbox of the image "+name)
	if strings.Contains(out, "READ ") || strings.Contains(out, "root:$") || strings.Contains(out, "root:*") {
		t.through("a sandbox of the image %s shows %s", name, clip(out))
	}
	return err
}

func bombed(ctx context.Context, t *trial) error {
	state, err := t.template(ctx, "bomb")
	if err != nil {
		return err
	}
	t.tried()
	if state.State == wire.TemplateReady {
		t.through("the image was unpacked, to more than the %d MiB that it may take", maxUnpackedMiB)
	}
	return nil
}
