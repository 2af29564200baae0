// Package request reads what is asked for claims from flags.
package request

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"sandpool/cmd/sandpool/environ"
	"sandpool/daemon/wire"
)

// Brings is what a claim brings along, as flags give it.
type Brings struct {
	env, envFiles, secrets, labels, files []string
	saved                                 bool
	bound                                 Binding
}

// Flags defines the flags.
func (b *Brings) Flags(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&b.env, "env", "e", nil, "set `KEY=VALUE` in the environment of all that is started in the sandbox, or a KEY alone as it is set here; may be repeated")
	flags.StringArrayVar(&b.envFiles, "env-file", nil, "set what this `file` says in its lines of KEY=VALUE; may be repeated, and --env goes before it")
	flags.StringArrayVar(&b.secrets, "secret", nil, "set a secret in that environment: `NAME=@FILE` of a file, - for standard input, or a NAME alone as it is set here; may be repeated")
	flags.StringArrayVar(&b.labels, "label", nil, "give the claim a label `NAME=VALUE` of your own, for sandpool ls --label; may be repeated")
	flags.StringArrayVar(&b.files, "file", nil, "write a small file: `PATH=@FILE` of this host, at that path in the sandbox; may be repeated")
	b.bound.Flags(flags)
	flags.BoolVar(&b.saved, "checkpoint-secrets", false, "let secrets be in checkpoints, on disk")
}

// Into puts what the flags gave into a request.
func (b *Brings) Into(req *wire.ClaimRequest) (err error) {
	if req.Env, err = environ.Read(b.envFiles, b.env); err != nil {
		return err
	}
	if req.BoundSecrets, err = b.bound.Secrets(); err != nil {
		return err
	}
	for _, flag := range b.secrets {
		entry, err := environ.Secret(flag)
		if err != nil {
			return fmt.Errorf("--secret: %w", err)
		}
		req.Secrets = append(req.Secrets, entry)
	}
	for _, flag := range b.files {
		path, from, ok := strings.Cut(flag, "=@")
		if !ok {
			return fmt.Errorf("--file: %q: want PATH=@FILE", flag)
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("--file: %w", err)
		}
		if len(content) > wire.MaxBody {
			return fmt.Errorf("--file: %s is no small file: send it by sandpool cp", from)
		}
		req.Files = append(req.Files, wire.ClaimFile{Path: path, Content: content})
	}
	req.CheckpointSecrets = b.saved
	if len(b.labels) > 0 {
		req.Metadata = map[string]string{}
	}
	for _, label := range b.labels {
		name, value, ok := strings.Cut(label, "=")
		if !ok {
			return fmt.Errorf("--label: %q: want NAME=VALUE", label)
		}
		req.Metadata[name] = value
	}
	return nil
}
