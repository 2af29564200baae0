package tenant

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"sandpool/daemon/client"
	"sandpool/daemon/wire"
)

// hello is what the page says.
const hello = "you are outside"

// Page is the ADDRESS:PORT of a server on this host, until the program's end, that tenants are to reach by the doors of their sandboxes.
var Page = sync.OnceValues(func() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, hello) })}
	go func() { _ = server.Serve(ln) }()
	return ln.Addr().String(), nil
})

// rules are what its claim may not connect to: what was answered last, at first nothing, and what was asked for since.
type rules struct {
	made int
	may  []string
}

// narrow denies another name.
func (t *Tenant) narrow(ctx context.Context) error {
	t.rules.made++
	name := fmt.Sprintf("n%d.invalid", t.rules.made)
	t.rules.may = append(t.rules.may, name)
	_, err := t.client.SetNetwork(ctx, t.claim, wire.NetworkRules{Deny: []string{name}})
	if err == nil {
		t.rules.may = []string{name}
	}
	return err
}

// checkNetwork looks for the rules that were answered, and whether the page can be reached.
func (t *Tenant) checkNetwork(ctx context.Context) error {
	now, err := t.client.Network(ctx, t.claim)
	if err != nil {
		return err
	}
	if deny := slices.Concat(now.Layers[len(now.Layers)-1].Deny, []string{""})[0]; !slices.Contains(t.rules.may, deny) {
		return fmt.Errorf("its network denies %q, and %q were asked for", deny, t.rules.may)
	}
	page, err := Page()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	fetch := wire.ExecRequest{Args: []string{"wget", "-q", "-O", "-", "http://" + page + "/"}, Env: []string{"http_proxy=http://127.0.0.1:3128"}}
	code, err := t.client.Exec(ctx, t.claim, fetch, client.Stdio{Out: &out, Err: &out})
	if err == nil && out.String() != hello {
		err = fmt.Errorf("the outside answers %q (exit code %d), want %q", out.String(), code, hello)
	}
	return err
}
