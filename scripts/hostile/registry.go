package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	registryPassword = "hunter2-of-the-operator" // of nobody
	signature        = "X-Amz-Signature=of-the-operator"
)

// registry is a hostile registry, and the server that it sends its clients to.
type registry struct {
	host, other string // address and port
	servers     []*http.Server

	mu    sync.Mutex
	asked map[string]int // requests, by the name of the image
	taken []string       // requests to the other server
}

func openRegistry() (*registry, error) {
	r := &registry{asked: map[string]int{}}
	for _, server := range []struct {
		address *string
		serve   http.HandlerFunc
	}{{&r.host, r.serve}, {&r.other, r.take}} {
		ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			r.close()
			return nil, err
		}
		*server.address = ln.Addr().String()
		s := &http.Server{Handler: server.serve, ReadHeaderTimeout: patience}
		r.servers = append(r.servers, s)
		go func() { _ = s.Serve(ln) }()
	}
	return r, nil
}

func (r *registry) close() {
	for _, s := range r.servers {
		_ = s.Close()
	}
}

// serve answers as the registry.
func (r *registry) serve(w http.ResponseWriter, req *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v2/"), "/")
	r.mu.Lock()
	r.asked[name]++
	r.mu.Unlock()
	switch name {
	case "realm":
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x",scope="repository:realm/y:pull"`, r.other))
		w.WriteHeader(http.StatusUnauthorized)
	case "redirect":
		http.Redirect(w, req, fmt.Sprintf("http://%s/blob?%s", r.other, signature), http.StatusTemporaryRedirect)
	case "endless":
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("a", 64))
		if req.Method == http.MethodHead {
			w.Header().Set("Content-Length", "100")
			return
		}
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
			if _, err := w.Write([]byte(strings.Repeat(" ", 64<<10))); err != nil {
				return
			}
		}
	default:
		http.NotFound(w, req)
	}
}

// take answers as the server that the registry names, and notes what it was told.
func (r *registry) take(w http.ResponseWriter, req *http.Request) {
	body := make([]byte, 4096)
	n, _ := req.Body.Read(body) // a form is in one piece
	r.mu.Lock()
	r.taken = append(r.taken, fmt.Sprint(req.URL, req.Header, string(body[:n])))
	r.mu.Unlock()
	http.Error(w, "no", http.StatusInternalServerError)
}

// config is what the daemon is told of images.
func (r *registry) config(dir string) string {
	return fmt.Sprintf("\n[images]\nmax_unpacked_mib = %d\npull_timeout = \"20s\"\nstall_timeout = \"10s\"\nhosts_dir = %q\ndocker_config = %q\n",
		maxUnpackedMiB, filepath.Join(dir, "hosts"), filepath.Join(dir, "docker.json"))
}

func (r *registry) templates() string {
	var text strings.Builder
	for _, name := range []string{"realm", "redirect", "endless"} {
		text.WriteString(template(name, "registry.test/"+name+"/y:1", "") + pool(name, 0, 1))
	}
	return text.String()
}

// write writes the files that config names: the registry is a mirror, asked by plain HTTP, with a password of its own.
func (r *registry) write(dir string) error {
	folder := filepath.Join(dir, "hosts", "registry.test")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	hosts := fmt.Sprintf("server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\ncapabilities = [\"pull\", \"resolve\"]\n", r.host)
	if err := os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(hosts), 0o600); err != nil {
		return err
	}
	auth := base64.StdEncoding.EncodeToString([]byte("bob:" + registryPassword))
	return os.WriteFile(filepath.Join(dir, "docker.json"), fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, r.host, auth), 0o600)
}

// known returns whether an image was asked for, what the other server was told, and what users and logs are told.
func (t *trial) known(ctx context.Context, name string) (taken, told string, err error) {
	state, err := t.template(ctx, name)
	if err != nil {
		return "", "", err
	}
	templates, err := t.attacker.do(ctx, "GET", "/v1/templates", "")
	if err != nil {
		return "", "", err
	}
	list, err := t.attacker.do(ctx, "GET", "/v1/images", "")
	if err != nil {
		return "", "", err
	}
	log, err := os.ReadFile(t.daemon.Log)
	if err != nil {
		return "", "", err
	}
	t.registry.mu.Lock()
	defer t.registry.mu.Unlock()
	if t.registry.asked[name] == 0 {
		return "", "", fmt.Errorf("the registry was not asked: %s", state.Reason)
	}
	t.tried()
	return strings.Join(t.registry.taken, "\n"), templates.body + list.body + string(log), nil
}

func stolenPassword(ctx context.Context, t *trial) error {
	taken, told, err := t.known(ctx, "realm")
	for _, form := range []string{registryPassword, base64.StdEncoding.EncodeToString([]byte("bob:" + registryPassword))} {
		if strings.Contains(taken, form) {
			t.through("a server that the registry named was told the registry's password")
		}
		if strings.Contains(told, form) {
			t.through("users or the log are told the registry's password")
		}
	}
	return err
}

func signedURL(ctx context.Context, t *trial) error {
	_, told, err := t.known(ctx, "redirect")
	if strings.Contains(told, signature) {
		t.through("users or the log are told the signed URL")
	}
	return err
}

func endlessManifest(ctx context.Context, t *trial) error {
	if _, _, err := t.known(ctx, "endless"); err != nil {
		return err
	}
	now, err := t.memory()
	if err == nil && now > 3*most {
		t.through("the daemon holds %d MiB", now>>20)
	}
	return err
}
