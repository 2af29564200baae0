package outside

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
)

// wheel is a Python package of one module.
type wheel struct{ name, version, needs, code string }

// wheels are all that PyPI has: greeting, which serves by HTTP what the package that it needs says, and stand-ins for a framework and its server.
var wheels = []wheel{
	{"politeness", "1.4.2", "", "def word():\n    return 'good day'\n"},
	{"greeting", "2.0.1", "politeness>=1.4", pythonServer},
	{"fastapi", "0.1.0", "politeness", ""},
	{"uvicorn", "0.1.0", "", pythonServer},
	{"requests", "2.32.5", "", ""},
}

const pythonServer = `import http.server
import sys

import politeness


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = politeness.word().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
`

// addPython serves PyPI: its simple index, and the files.
func addPython(pages *http.ServeMux) {
	for _, w := range wheels {
		name, content := w.file()
		file(pages, "files.pythonhosted.org/packages/"+name, "application/octet-stream", content)
		index := fmt.Sprintf("<!DOCTYPE html><a href=\"https://files.pythonhosted.org/packages/%s#sha256=%x\">%[1]s</a>\n", name, sha256.Sum256(content))
		file(pages, "pypi.org/simple/"+w.name+"/{$}", "text/html", []byte(index))
	}
	pages.Handle("pypi.org/", http.NotFoundHandler())
}

func (w wheel) file() (name string, content []byte) {
	var buf bytes.Buffer
	archive := zip.NewWriter(&buf)
	info := fmt.Sprintf("%s-%s.dist-info/", w.name, w.version)
	meta := fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", w.name, w.version)
	if w.needs != "" {
		meta += "Requires-Dist: " + w.needs + "\n"
	}
	var record strings.Builder
	for _, f := range [][2]string{
		{w.name + ".py", w.code},
		{info + "METADATA", meta},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: outside\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", ""},
	} {
		record.WriteString(f[0] + ",,\n")
		if f[1] == "" {
			f[1] = record.String()
		}
		member, err := archive.Create(f[0])
		if err == nil {
			_, err = member.Write([]byte(f[1]))
		}
		if err != nil {
			panic(err) // memory does not fail
		}
	}
	if err := archive.Close(); err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s-%s-py3-none-any.whl", w.name, w.version), buf.Bytes()
}
