package systemdtest

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sandpool/scripts/outside"
)

// Files that a host of the tests has none of by itself.
const (
	resolvConf      = "/etc/resolv.conf"
	hostAuthorities = "/etc/ssl/certs/ca-certificates.crt"
)

// networkImage is what docs/networking.md has its sandboxes made from.
const networkImage = "docker.io/library/python:3.13"

// fetcher stands in for pip: it finds a package by the index of PyPI, and fetches its file, by the same names as pip does.
const fetcher = `#!/usr/bin/python3
import re, sys, urllib.request
get = lambda url: urllib.request.urlopen(url).read()
file = re.search('href="([^"]*/([^/"]*)-py3[^"]*)#', get(f"https://pypi.org/simple/{sys.argv[2]}/").decode())
assert get(file[1])[:2] == b"PK"
print("Downloading", file[1])
print("Successfully installed", file[2])
`

// TestNetworkingPage types docs/networking.md on a host with the default configuration, whose internet is the tests' own.
func TestNetworkingPage(t *testing.T) {
	if err := install(); err != nil {
		t.Fatal(err)
	}
	world := internet(t)
	data, err := os.ReadFile(host.Inside("/usr/local/share/doc/sandpool/sandpoold.toml"))
	if err := errors.Join(err, put(confFile, string(data)), put(resolvConf, "nameserver 203.0.113.53\n"), put(hostAuthorities, string(world.CA))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		systemctl(t, "disable", "--now", "sandpoold.socket", service)
		if err := errors.Join(configure(2), os.Remove(host.Inside(resolvConf)), os.Remove(host.Inside(hostAuthorities))); err != nil {
			t.Error(err)
		}
	})
	systemctl(t, "start", "containerd.service")
	importNetworkImage(t, world.CA)
	systemctl(t, "enable", "--now", "sandpoold.socket", service)
	typePage(t, "docs/networking.md")
	if world.Names.Asked("example.com") > 0 {
		t.Error("a name that is denied was looked up")
	}
}

// internet starts an outside in the host's own network.
func internet(t *testing.T) *outside.World {
	t.Helper()
	network, err := os.Open(filepath.Join(filepath.Dir(host.Inside("")), "ns/net"))
	if err != nil {
		t.Fatal(err)
	}
	world, err := outside.StartIn(network)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	world.Names.Set("api.example.com", outside.Record{Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.20")}})
	return world
}

// importNetworkImage imports an image under the name of the page's: the tests' Python, with what stands in for pip and curl.
func importNetworkImage(t *testing.T, authorities []byte) {
	t.Helper()
	dir := t.TempDir()
	images := filepath.Dir(host.Image)
	copied := exec.CommandContext(t.Context(), "cp", "-a", filepath.Join(images, "python"), filepath.Join(dir, "root"))
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for path, text := range map[string]string{
		"usr/bin/pip": fetcher, "usr/bin/curl": "#!/bin/sh\nshift\nexec wget -qO- \"$@\"\n", "usr/lib/ssl/cert.pem": string(authorities),
	} {
		path = filepath.Join(dir, "root", path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(dir, "python.tar")
	made := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(host.Init), "mkimage"), "-busybox", filepath.Join(images, "busybox"), "-root", filepath.Join(dir, "root"), "-name", networkImage, "-o", archive)
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(archive)
	if err := errors.Join(err, put("/opt/network.tar", string(text))); err != nil {
		t.Fatal(err)
	}
	for _, archive := range []string{"/opt/network.tar", "/opt/busybox.tar"} {
		if out, err := host.In(t.Context(), "ctr", "-n", "sandpool", "images", "import", archive).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}
