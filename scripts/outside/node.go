package outside

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1" //nolint:gosec // npm's documents have it beside another
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
)

// entry is a file of an archive; a name that ends with / is a folder.
type entry struct{ name, content string }

// addNode serves npm's registry, which has the package small-greeting.
func addNode(pages *http.ServeMux) error {
	const name, version = "small-greeting", "3.1.0"
	about := map[string]any{"name": name, "version": version, "main": "index.js"}
	text, err := json.Marshal(about)
	if err != nil {
		return err
	}
	archive, err := tarGzip(entry{"package/package.json", string(text)}, entry{"package/index.js", "module.exports = () => 'good day'\n"})
	if err != nil {
		return err
	}
	short, long := sha1.Sum(archive), sha512.Sum512(archive) //nolint:gosec // as above
	path := NPM + "/" + name + "/-/" + name + "-" + version + ".tgz"
	about["dist"] = map[string]string{
		"tarball": "https://" + path, "shasum": hex.EncodeToString(short[:]), "integrity": "sha512-" + base64.StdEncoding.EncodeToString(long[:]),
	}
	document, err := json.Marshal(map[string]any{
		"name": name, "dist-tags": map[string]string{"latest": version}, "versions": map[string]any{version: about},
		"time": map[string]string{version: "2020-01-01T00:00:00.000Z"},
	})
	file(pages, NPM+"/"+name, "application/json", document)
	file(pages, path, "application/octet-stream", archive)
	pages.Handle(NPM+"/", http.NotFoundHandler())
	return err
}

func tarGzip(entries ...entry) ([]byte, error) {
	var buf bytes.Buffer
	zipped := gzip.NewWriter(&buf)
	archive := tar.NewWriter(zipped)
	for _, e := range entries {
		head := tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(e.content))}
		if e.name[len(e.name)-1] == '/' {
			head.Typeflag, head.Mode = tar.TypeDir, 0o755
		}
		if err := archive.WriteHeader(&head); err != nil {
			return nil, err
		}
		if _, err := archive.Write([]byte(e.content)); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	err := zipped.Close()
	return buf.Bytes(), err
}
