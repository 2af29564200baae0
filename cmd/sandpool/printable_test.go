package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"sandpool/daemon/wire"
)

// hostile is a text that would clear a terminal, name its window and forge a line.
const hostile = "x\x1b]0;owned\a\x1b[2J\u009b2J\nforged  row\r\u2028\u202e"

// spoil puts hostile text into every text of a value, and one element into every list.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type() != reflect.TypeFor[time.Time]() {
				spoil(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		spoil(v.Index(0))
	}
}

func spoiled[T any]() (value T) {
	spoil(reflect.ValueOf(&value).Elem())
	return value
}

// TestNoControlCharacters has a daemon whose every text is hostile: none of it reaches the terminal, and each row is one line.
func TestNoControlCharacters(t *testing.T) {
	mux := http.NewServeMux()
	for pattern, body := range map[string]any{
		"POST /v1/claims": spoiled[wire.Claim](), "GET /v1/claims": spoiled[wire.ClaimList](), "POST /v1/claims/c/extend": spoiled[wire.Claim](),
		"POST /v1/claims/c/fork": spoiled[wire.ClaimList](), "POST /v1/claims/c/checkpoint": spoiled[wire.Checkpoint](),
		"GET /v1/checkpoints": spoiled[wire.CheckpointList](), "GET /v1/events": spoiled[wire.Event](), "GET /v1/pools": spoiled[wire.PoolList](),
		"PUT /v1/pools/p": spoiled[wire.Pool](), "GET /v1/templates": spoiled[wire.TemplateList](), "POST /v1/templates/t/check": spoiled[wire.TemplateCheck](),
		"GET /v1/images": spoiled[wire.ImageList](), "GET /v1/info": spoiled[wire.Info](),
		"GET /v1/claims/c/processes": spoiled[wire.ProcessList](), "GET /v1/claims/c/processes/7": spoiled[wire.Process](), "GET /v1/claims/c/network": spoiled[wire.Network](), "GET /v1/claims/c/network/why": spoiled[wire.NetworkWhy](), "GET /v1/claims/c/network/log": spoiled[wire.NetworkEntry](),
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, body) })
	}
	mux.HandleFunc("GET /v1/claims/c", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusConflict, "conflict", hostile) })
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}}
	server.Start()
	t.Cleanup(server.Close)
	for command, lines := range map[string]int{
		"claim": 2, "ls": 2, "extend c": 1, "fork c": 1, "checkpoint c": 1, "checkpoints": 2, "events": 1, "pools": 2, "pools set p": 2, "templates": 2,
		"templates check t": 2, "images": 2, "info": 13, "inspect c": 1, "ps c": 2, "wait c 7": 1, "ls -o wide": 2, "ls -q": 1, "top --once": 12, "ls c": 2, "egress show c": 7, "egress why c a": 2, "egress log c": 1, "forward c 1": 2, "__complete release ": 3, "__complete checkpoints rm ": 3,
	} {
		var out, errOut bytes.Buffer
		run(t.Context(), append([]string{"--socket", listener.Addr().String()}, strings.SplitN(command, " ", 4)...), strings.NewReader(""), &out, &errOut)
		text := out.String() + errOut.String()
		if strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), func(r rune) bool {
			return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) && (r != '\t' || !strings.HasPrefix(command, "__"))
		}) {
			t.Errorf("%s: %q", command, text)
		}
		if n := strings.Count(text, "\n"); n != lines || strings.Contains(text, "\nforged") {
			t.Errorf("%s: %d lines, want %d: %q", command, n, lines, text)
		}
	}
}
