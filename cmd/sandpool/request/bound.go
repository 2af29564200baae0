package request

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"sandpool/cmd/sandpool/environ"
	"sandpool/daemon/wire"
)

// Binding are the flags by which secrets of a claim's own are bound to names.
type Binding struct{ specs []string }

// Flags defines the flags.
func (b *Binding) Flags(flags *pflag.FlagSet) {
	flags.StringArrayVar(&b.specs, "bind-secret", nil, "send requests to some hosts with a secret that the sandbox never has: `KEY=VALUE,...` of name, host, header, value, user, file or env, and ca; may be repeated")
}

// Secrets are those that the flags give. Errors tell none.
func (b *Binding) Secrets() ([]wire.BoundSecret, error) {
	var all []wire.BoundSecret
	for _, spec := range b.specs {
		s, err := readBound(spec)
		if err != nil {
			return nil, fmt.Errorf("--bind-secret: %w", err)
		}
		all = append(all, s)
	}
	return all, nil
}

const wantBound = `want KEY=VALUE with commas between them, as in name=api,host=api.example.com,header=Authorization,"value=Bearer {secret}",file=FILE`

func readBound(spec string) (s wire.BoundSecret, err error) {
	fields, err := csv.NewReader(strings.NewReader(spec)).Read()
	if err != nil {
		return s, errors.New(wantBound)
	}
	for _, field := range fields {
		key, value, ok := strings.Cut(field, "=")
		text := map[string]*string{"name": &s.Name, "header": &s.Header, "value": &s.Value, "user": &s.User}[key]
		switch {
		case !ok || value == "":
			return s, errors.New(wantBound)
		case text != nil:
			*text = value
		case key == "host":
			s.Hosts = append(s.Hosts, value)
		case key == "file" && s.Secret == "":
			s.Secret, err = environ.Secret("file=@" + value)
		case key == "env" && s.Secret == "":
			s.Secret, err = environ.Secret(value)
		case key == "ca":
			s.CA, err = readAuthorities(value)
		default:
			return s, fmt.Errorf("%.64q: %s", key, wantBound)
		}
		if err != nil {
			return s, err
		}
	}
	_, s.Secret, _ = strings.Cut(s.Secret, "=")
	if s.Secret == "" {
		return s, errors.New("want file=FILE, file=- for standard input, or env=NAME of a variable that is set here, with the secret in it")
	}
	return s, nil
}

func readAuthorities(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err == nil && len(data) > wire.MaxBody {
		err = fmt.Errorf("%s is over the limit of %d bytes", path, wire.MaxBody)
	}
	return string(data), err
}
