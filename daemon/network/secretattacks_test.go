package network

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sandpool/runtime/door"
	hostile "sandpool/scripts/hostile/network"
)

// TestSecretIsNotHad has a client say all that the suite of attacks has to be told the secret, or to have it sent to another name.
func TestSecretIsNotHad(t *testing.T) {
	layers := withSecret("good.example:443", "front.example:80")
	w := newWorld(t, Options{}, layers)
	w.name("front.example", goodAddr)
	var mu sync.Mutex
	good, wrong := 0, []string{}
	w.addSecret("good.example", func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if to := r.FormValue("to"); to != "" {
			rw.Header().Set("Location", to)
			rw.WriteHeader(http.StatusFound)
		}
		keyed := r.Host == "good.example" && secure(r) && slices.Equal(r.Header["X-Api-Key"], []string{"Key " + token}) && len(r.Trailer) == 0 && r.Header["X_api_key"] == nil
		clean := r.Host == "front.example" && !strings.Contains(seen(r, body), token)
		mu.Lock()
		defer mu.Unlock()
		if keyed {
			good++
		} else if !clean {
			wrong = append(wrong, seen(r, body))
		}
	})
	ways := w.opens()
	ways["proxy"] = w.proxy
	ways["front"] = func() *door.Stream { return w.connect("front.example", 80) }
	for via, open := range ways {
		for _, text := range hostile.SecretTexts("good.example", "front.example") {
			st := open()
			go func() {
				_, _ = io.WriteString(st, text)
				_ = st.CloseWrite()
			}()
			got, _ := io.ReadAll(st)
			_ = st.Close()
			if strings.Contains(string(got), token) {
				t.Errorf("by %s, %.200q: %q", via, text, got)
			}
		}
	}
	if met := w.met(); good == 0 || len(wrong) > 0 || len(met) > 0 {
		t.Errorf("%d requests came as they should, others as %.2000q; met %q", good, wrong, met)
	}
	w.tellsNothing()
}
