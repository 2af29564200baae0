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

// nodePackage is a package of npm's. What it has as its program says by HTTP, at the port that its arguments tell, who it is.
type nodePackage struct {
	name, version string
	program       bool
}

// nodePackages are all that npm's registry has: one that says something, and stand-ins for what projects often begin with.
var nodePackages = []nodePackage{{"small-greeting", "3.1.0", false}, {"react", "19.0.0", false}, {"react-dom", "19.0.0", false}, {"vite", "8.0.0", true}, {"next", "16.0.0", true}}

const nodeProgram = `#!/usr/bin/env node
const port = process.argv[process.argv.indexOf('--port') + 1]
const server = require('http').createServer((request, response) => {
  console.log(request.url)
  response.end('hello from ' + require('./package.json').name)
})
server.listen(port)
`

// addNode serves npm's registry.
func addNode(pages *http.ServeMux) error {
	pages.Handle(NPM+"/", http.NotFoundHandler())
	for _, p := range nodePackages {
		if err := p.add(pages); err != nil {
			return err
		}
	}
	return nil
}

func (p nodePackage) add(pages *http.ServeMux) error {
	about := map[string]any{"name": p.name, "version": p.version, "main": "index.js"}
	if p.program {
		about["bin"] = map[string]string{p.name: "program.js"}
	}
	text, err := json.Marshal(about)
	if err != nil {
		return err
	}
	archive, err := tarGzip(
		entry{"package/package.json", string(text)}, entry{"package/index.js", "module.exports = () => 'good day'\n"}, entry{"package/program.js", nodeProgram})
	if err != nil {
		return err
	}
	short, long := sha1.Sum(archive), sha512.Sum512(archive) //nolint:gosec // as above
	path := NPM + "/" + p.name + "/-/" + p.name + "-" + p.version + ".tgz"
	about["dist"] = map[string]string{
		"tarball": "https://" + path, "shasum": hex.EncodeToString(short[:]), "integrity": "sha512-" + base64.StdEncoding.EncodeToString(long[:]),
	}
	document, err := json.Marshal(map[string]any{
		"name": p.name, "dist-tags": map[string]string{"latest": p.version}, "versions": map[string]any{p.version: about},
		"time": map[string]string{p.version: "2020-01-01T00:00:00.000Z"},
	})
	file(pages, NPM+"/"+p.name, "application/json", document)
	file(pages, path, "application/octet-stream", archive)
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
