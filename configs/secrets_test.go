package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecretsAreRead has secrets come from files and credentials, in the form of their header, and refuses files that others may read or that are no
// secret, without a word of what is in them.
func TestSecretsAreRead(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	const text = "a-t0ken"
	for _, c := range []struct {
		what    string
		content string
		mode    os.FileMode
		s       Secret
		header  string
		value   string
		err     string
	}{
		{"a header", text + "\n", 0o600, Secret{Header: "x-key", Value: "Key {secret}!"}, "X-Key", "Key a-t0ken!", ""},
		{"basic authentication", text, 0o400, Secret{User: "me", Value: Placeholder}, "Authorization", "Basic bWU6YS10MGtlbg==", ""},
		{"a placeholder in it", "{secret}", 0o600, Secret{Header: "X-Key", Value: Placeholder}, "X-Key", "{secret}", ""},
		{"read by others", text, 0o640, Secret{Header: "X-Key"}, "", "", "can be read by others (mode 0640): chmod go= "},
		{"written by others", text, 0o602, Secret{Header: "X-Key"}, "", "", "can be written by others"},
		{"empty", "\n", 0o600, Secret{Header: "X-Key"}, "", "", "want the secret in one line"},
		{"two lines", text + "\n" + text, 0o600, Secret{Header: "X-Key"}, "", "", "want the secret in one line"},
		{"a space before it", " " + text, 0o600, Secret{Header: "X-Key"}, "", "", "want the secret in one line"},
		{"too long", strings.Repeat(text, maxSecret), 0o600, Secret{Header: "X-Key"}, "", "", "is larger than"},
	} {
		path := filepath.Join(dir, "secret")
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		byFile, byName := c.s, c.s
		byFile.File, byName.Credential = path, "secret"
		for _, s := range []Secret{byFile, byName} {
			header, value, _, err := s.Read()
			if c.err == "" && (err != nil || header != c.header || value != c.value) {
				t.Errorf("%s: %q: %q, %v", c.what, header, value, err)
			}
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), text)) {
				t.Errorf("%s: %v, want %q", c.what, err, c.err)
			}
			config := Default()
			config.Secrets = []Secret{s}
			if err := config.CheckPaths(); (err == nil || !strings.Contains(err.Error(), "secrets[0]")) != (c.err == "") {
				t.Errorf("%s: the look at the paths says %v", c.what, err)
			}
		}
	}
	for content, want := range map[string]string{text: "no certificate in PEM is in it", strings.Repeat(text, maxAuthorities): "is larger than"} {
		path := filepath.Join(dir, "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Secret{CAFile: path}.roots()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), text) {
			t.Errorf("authorities: %v, want %q", err, want)
		}
	}
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.WriteFile(open, nil, 0o600), os.Chmod(open, 0o602)); err != nil {
		t.Fatal(err)
	}
	if err := (Config{Secrets: []Secret{{CAFile: open, Credential: "none"}}}).CheckPaths(); err == nil || !strings.Contains(err.Error(), "secrets[0].ca_file: ") {
		t.Errorf("authorities that others may change: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	s := Secret{Credential: "secret", Header: "X-Key"}
	if _, _, _, err := s.Read(); err == nil || !strings.Contains(err.Error(), "LoadCredential=") {
		t.Error(err)
	}
	if err := (Config{Secrets: []Secret{s}}).CheckPaths(); err != nil && strings.Contains(err.Error(), "secrets[0]") {
		t.Errorf("outside of the service: %v", err)
	}
	if err := (Config{Secrets: []Secret{{File: filepath.Join(dir, "none")}}}).CheckPaths(); err == nil || !strings.Contains(err.Error(), "secrets[0]: ") {
		t.Errorf("a file that is not there: %v", err)
	}
}
