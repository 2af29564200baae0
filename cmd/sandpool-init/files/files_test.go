package files

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// do does an operation in this process, and returns the exit code and all that it says.
func do(input, operation string, args ...string) (code int, out, said string) {
	words := []string{operation}
	for i := 0; i < len(args); i += 2 {
		words = append(words, args[i]+"="+strconv.QuoteToASCII(args[i+1]))
	}
	var stdout, stderr bytes.Buffer
	code = Run(words, strings.NewReader(input), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// whole is content as it is sent: in pieces, and with its end.
func whole(pieces ...string) string { return cut(pieces...) + "\x00\x00\x00\x00" }

func cut(pieces ...string) string {
	var all []byte
	for _, p := range pieces {
		all = append(binary.BigEndian.AppendUint32(all, uint32(len(p))), p...)
	}
	return string(all)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOperations does one operation after the other in a folder, and looks at what it says and at what is there then.
func TestOperations(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return dir + "/" + name } // as it is, with . at its end too
	must(t, unix.Mkfifo(at("pipe"), 0o600))
	for link, target := range map[string]string{"to-file": "file", "to-there": at("file"), "dangling": "folder/made", "loop": "loop", "up": "../" + filepath.Base(dir) + "/to-file", "to-folder": "folder"} {
		must(t, os.Symlink(target, at(link)))
	}
	for _, step := range []struct {
		input, operation, path string
		args                   []string
		says                   string // its class, or nothing for a success
		file, content          string // a file that is looked at then, and what it has
	}{
		{whole("a", "bc"), "write", "file", nil, "", "file", "abc"},
		{whole("x"), "write", "to-file", nil, "", "file", "x"},
		{whole("y"), "write", "up", nil, "", "file", "y"},
		{whole(), "write", "to-there", nil, "", "file", ""},
		{whole("z"), "write", "loop", nil, "ELOOP", "file", ""},
		{whole("z"), "write", "pipe", nil, "EINVAL", "file", ""},
		{whole("z"), "overwrite", "pipe", nil, "EINVAL", "file", ""},
		{whole("z"), "write", "none/x", nil, "ENOENT", "file", ""},
		{whole("z"), "write", "file/x", nil, "ENOTDIR", "file", ""},
		{cut("half"), "write", "file", nil, "ECONNRESET", "file", ""},
		{cut("half")[:6], "write", "file", nil, "ECONNRESET", "file", ""},
		{"", "write", "file", nil, "ECONNRESET", "file", ""},
		{whole("one"), "append", "file", nil, "", "file", "one"},
		{whole("two"), "append", "to-file", []string{"offset", "3"}, "", "file", "onetwo"},
		{whole("two"), "append", "file", []string{"offset", "3"}, "ESTALE", "file", "onetwo"},
		{cut("three"), "append", "file", nil, "ECONNRESET", "file", "onetwothree"},
		{whole("new"), "overwrite", "file", []string{"mode", "600"}, "", "file", "new"},
		{"", "mkdir", "folder", nil, "", "file", "new"},
		{"", "mkdir", "folder", nil, "EEXIST", "file", "new"},
		{"", "mkdir", "folder", []string{"parents", "1"}, "", "file", "new"},
		{"", "mkdir", "a/b/c", nil, "ENOENT", "file", "new"},
		{"", "mkdir", "a/b/c", []string{"parents", "1", "mode", "700"}, "", "file", "new"},
		{whole("m"), "write", "dangling", nil, "", "folder/made", "m"},
		{whole("m"), "write", "folder", nil, "EISDIR", "folder/made", "m"},
		{"", "remove", "folder", nil, "ENOTEMPTY", "folder/made", "m"},
		{"", "remove", "to-folder", []string{"recursive", "1"}, "", "folder/made", "m"},
		{"", "remove", ".", []string{"recursive", "1"}, "EINVAL", "folder/made", "m"},
		{"", "move", "folder/made", []string{"to", at("moved")}, "", "moved", "m"},
		{"", "move", "a", []string{"to", at("moved")}, "ENOTDIR", "moved", "m"},
		{"", "remove", "a", []string{"recursive", "1"}, "", "moved", "m"},
		{"", "remove", "a", nil, "ENOENT", "moved", "m"},
		{"", "chmod", "moved", []string{"mode", "4711"}, "", "moved", "m"},
		{"", "chmod", "moved", []string{"mode", "18"}, "EINVAL", "moved", "m"},
		{"", "chown", "moved", []string{"owner", "nobody-there"}, "EINVAL", "moved", "m"},
		{"", "read", "folder", nil, "EISDIR", "moved", "m"},
		{"", "read", "pipe", nil, "EINVAL", "moved", "m"},
		{"", "list", "moved", nil, "ENOTDIR", "moved", "m"},
		{"", "pack", "none", nil, "ENOENT", "moved", "m"},
		{"", "watch", "none", nil, "ENOENT", "moved", "m"},
		{whole("no tar stream, but as long as the header of one: " + strings.Repeat(".", 512)), "unpack", ".", nil, "EINVAL", "moved", "m"},
		{"", "stat", strings.Repeat("n", 256), nil, "ENAMETOOLONG", "moved", "m"},
		{"", "stat", strings.Repeat("n/", 2100), nil, "ENAMETOOLONG", "moved", "m"},
	} {
		code, out, said := do(step.input, step.operation, append(step.args, "path", at(step.path))...)
		class, _, _ := strings.Cut(said, " ")
		if class != step.says || (code == 0) != (class == "") || strings.Count(said, "\n") > 1 {
			t.Errorf("%s %.50s %v: exit code %d, %.200q, %.200q; want %q", step.operation, step.path, step.args, code, out, said, step.says)
		}
		if data, err := os.ReadFile(at(step.file)); err != nil || string(data) != step.content {
			t.Errorf("%s %.50s %v: %s has %q, %v, want %q", step.operation, step.path, step.args, step.file, data, err, step.content)
		}
	}
	_, out, _ := do("", "list", "path", dir, "depth", "0")
	if strings.Contains(out, ".sandpool-") || strings.Contains(out, `"to-folder"`) || !strings.Contains(out, `"loop" "loop"`) {
		t.Errorf("there is\n%s", out)
	}
}

// TestReadFrom reads from a place on, and not at all when nothing is asked for.
func TestReadFrom(t *testing.T) {
	name := filepath.Join(t.TempDir(), "caf\xe9")
	must(t, os.WriteFile(name, []byte("0123456789"), 0o600))
	for input, want := range map[string]string{"": "", "0\n": "0123456789", "7\n": "789", "10\n": "", "11\n": ""} {
		code, out, said := do(input, "read", "path", name)
		line, content, _ := strings.Cut(out, "\n")
		if code != 0 || content != want || !strings.Contains(line, ` 10 `) || !strings.Contains(line, strconv.QuoteToASCII(name)) {
			t.Errorf("%q: exit code %d, %q, %s", input, code, out, said)
		}
	}
}

// TestUsage refuses what no daemon sends.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"nothing"}, {"stat", "path"}, {"stat", "path=/"}} {
		var said bytes.Buffer
		if code := Run(args, strings.NewReader(""), &said, &said); code != 2 || said.Len() == 0 {
			t.Errorf("%q: exit code %d, %q", args, code, said.String())
		}
	}
}
