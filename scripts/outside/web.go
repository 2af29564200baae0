package outside

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serveWeb is for a thread in the network. By HTTP and HTTPS each name has the same pages.
func (w *World) serveWeb() error {
	pages := http.NewServeMux()
	pages.HandleFunc("/", hello)
	pages.HandleFunc("GET /bytes/{n}", manyBytes)
	pages.HandleFunc("GET /digest/{header}", digest)
	pages.HandleFunc("GET /redirect", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", r.FormValue("to"))
		rw.WriteHeader(http.StatusFound)
	})
	addPython(pages)
	if err := errors.Join(addNode(pages), addDebian(pages), addGit(pages, w.dir)); err != nil {
		return err
	}
	server := &http.Server{Handler: w.watched(pages), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	w.owned(server.Close)
	plain, err := w.listen(":80")
	if err != nil {
		return err
	}
	secure, err := w.listen(":443")
	if err != nil {
		return err
	}
	for _, ln := range []net.Listener{plain, tls.NewListener(secure, w.secure)} {
		w.servers.Go(func() { _ = server.Serve(ln) }) // until it is closed
	}
	return nil
}

// Watch has see called for each request that was answered from now on, by HTTP or HTTPS; nil ends that. It is called by many at once.
func (w *World) Watch(see func(*http.Request)) { w.watch.Store(&see) }

func (w *World) watched(pages http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		pages.ServeHTTP(rw, r)
		if see := w.watch.Load(); see != nil && *see != nil {
			(*see)(r)
		}
	})
}

// hello tells what came, so that tests see what was asked of whom. A body is counted.
func hello(rw http.ResponseWriter, r *http.Request) {
	size, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return
	}
	rw.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(rw, "hello from %s: %s %s of %d bytes\n", r.Host, r.Method, r.URL, size) //nolint:gosec // it is plain text
}

// digest tells which value a header has, without a word of it.
func digest(rw http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(rw, "%x\n", sha256.Sum256([]byte(strings.Join(r.Header.Values(r.PathValue("header")), ", ")))) //nolint:gosec // it is hexadecimal
}

// manyBytes answers with as many zeros as it is asked for.
func manyBytes(rw http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	rw.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	_, _ = io.CopyN(rw, zeros{}, n) // who asks may have gone
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// file adds a file by the URL without its scheme, such as pypi.org/simple/.
func file(pages *http.ServeMux, url, kind string, content []byte) {
	pages.HandleFunc("GET "+url, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", kind)
		_, _ = rw.Write(content) // who asks may have gone
	})
}
