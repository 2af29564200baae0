package outside

import (
	"bytes"
	"crypto/md5" //nolint:gosec // apt's lists have it beside another
	"crypto/sha256"
	"fmt"
	"net/http"
	"runtime"
)

// addDebian serves an unsigned repository, which has the package small-greeting.
func addDebian(pages *http.ServeMux) error {
	const about = "Package: small-greeting\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\nDescription: a file that greets\n"
	deb, err := debianPackage(about)
	if err != nil {
		return err
	}
	const path = "pool/main/s/small-greeting/small-greeting_1.0_all.deb"
	list := fmt.Appendf(nil, "%sFilename: %s\nSize: %d\nMD5sum: %x\nSHA256: %x\n", about, path, len(deb), md5.Sum(deb), sha256.Sum256(deb)) //nolint:gosec // as above
	lists := fmt.Sprintf("main/binary-%s/Packages", runtime.GOARCH)
	release := fmt.Appendf(nil, "Origin: Outside\nSuite: stable\nCodename: stable\nDate: Wed, 01 Jan 2020 00:00:00 UTC\nArchitectures: %s\nComponents: main\nSHA256:\n %x %d %s\n",
		runtime.GOARCH, sha256.Sum256(list), len(list), lists)
	top := Debian + "/debian/"
	file(pages, top+"dists/stable/Release", "text/plain", release)
	file(pages, top+"dists/stable/"+lists, "text/plain", list)
	file(pages, top+path, "application/vnd.debian.binary-package", deb)
	pages.Handle(Debian+"/", http.NotFoundHandler())
	return nil
}

// debianPackage is a package of one file: an ar archive of two tar archives.
func debianPackage(about string) ([]byte, error) {
	control, err := tarGzip(entry{"./", ""}, entry{"./control", about})
	if err != nil {
		return nil, err
	}
	data, err := tarGzip(entry{"./", ""}, entry{"./usr/", ""}, entry{"./usr/share/", ""}, entry{"./usr/share/small-greeting", "good day\n"})
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	buf.WriteString("!<arch>\n")
	for _, member := range []struct {
		name    string
		content []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", control}, {"data.tar.gz", data}} {
		fmt.Fprintf(&buf, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", member.name, 0, 0, 0, "100644", len(member.content))
		buf.Write(member.content)
		if len(member.content)%2 == 1 {
			buf.WriteByte('\n')
		}
	}
	return buf.Bytes(), nil
}
