package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	dockerconfig "github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
)

// dockerHubKey is what Docker's configuration calls its own registry.
const dockerHubKey = "https://index.docker.io/v1/"

// newResolver talks to registries by way of the mirrors and with the credentials that the policy names, but to none that held says to
// leave alone. alive is called whenever one of them sends something.
func newResolver(ctx context.Context, policy Policy, held *pauses, alive func()) (remotes.Resolver, error) {
	credentials, err := dockerCredentials(policy.DockerConfig)
	if err != nil {
		return nil, err
	}
	options := config.HostOptions{
		Credentials: credentials,
		UpdateClient: func(c *http.Client) error {
			c.Transport = watchedTransport{c.Transport, held, alive}
			return nil
		},
	}
	if policy.HostsDir != "" {
		options.HostDir = config.HostDirFromRoot(policy.HostsDir)
	}
	configured := config.ConfigureHosts(ctx, options)
	return docker.NewResolver(docker.ResolverOptions{Hosts: func(host string) ([]docker.RegistryHost, error) {
		hosts, err := configured(host)
		for i := range hosts {
			hosts[i].Authorizer = guarded{hosts[i].Authorizer, credentials, policy.TokenHosts}
		}
		return hosts, err
	}}), nil
}

// dockerCredentials reads Docker's configuration. The returned function gives a registry's user name and password, or no name and
// a token; a registry that is not in there is asked without.
func dockerCredentials(path string) (func(host string) (string, string, error), error) {
	file, err := readDockerConfig(path)
	if err != nil {
		return nil, fmt.Errorf("read Docker's configuration: %w: mend it or set images.docker_config", err)
	}
	return func(host string) (string, string, error) {
		auth, err := file.GetAuthConfig(dockerKey(host))
		if err != nil {
			return "", "", fmt.Errorf("get credentials of %s: %w", host, err)
		}
		if auth.IdentityToken != "" {
			return "", auth.IdentityToken, nil
		}
		return auth.Username, auth.Password, nil
	}, nil
}

func readDockerConfig(path string) (*configfile.ConfigFile, error) {
	if path == "" {
		return dockerconfig.Load("")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	file := configfile.New(path)
	if err := file.LoadFromReader(f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// dockerKey is what Docker's configuration calls a registry: that of names without one has a key of its own.
func dockerKey(host string) string {
	bare, err := reference.ParseNormalizedNamed("x")
	if err == nil && (host == reference.Domain(bare) || strings.HasSuffix(host, "."+reference.Domain(bare))) {
		return dockerHubKey
	}
	return host
}

// watchStall returns a context that ends when alive is not called for so long.
func watchStall(ctx context.Context, limit time.Duration) (_ context.Context, alive, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() {
		cancel(fmt.Errorf("the registry sent nothing for %s (images.stall_timeout): %w", limit, context.DeadlineExceeded))
	})
	return ctx, func() { timer.Reset(limit) }, func() {
		timer.Stop()
		cancel(errors.New("done"))
	}
}

// watchedTransport calls alive whenever an answer begins and whenever some of its body comes. It asks no host that is to be left alone,
// and follows no redirect to plain HTTP, which would take credentials along.
type watchedTransport struct {
	http.RoundTripper

	held  *pauses
	alive func()
}

func (t watchedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if downgraded(req) {
		return nil, errdefs.ErrPermissionDenied.WithMessage("it redirects from HTTPS to plain HTTP, at " + req.URL.Host)
	}
	if err := t.held.of(req.URL.Host); err != nil {
		return nil, err
	}
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	t.alive()
	if err := t.held.note(req.URL.Host, resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	resp.Body = watchedBody{resp.Body, t.alive}
	return resp, nil
}

type watchedBody struct {
	io.ReadCloser

	alive func()
}

func (b watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.alive()
	}
	return n, err
}
