package client

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"sandpool/daemon/wire"
)

func TestEvents(t *testing.T) {
	const asked = "after=now&claim=c-1&follow=true"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("after") {
		case "bad":
			answer(t, w, http.StatusBadRequest, wire.Error{Status: http.StatusBadRequest, Code: "invalid_argument", Message: "no cursor"})
		case "now":
			if r.URL.RawQuery != asked {
				t.Errorf("asked for %s, want %s", r.URL.RawQuery, asked)
			}
			w.Header().Set(wire.CursorHeader, "x-1")
		case "x-1":
			_, _ = fmt.Fprint(w, "{\"cursor\":\"x-2\",\"kind\":\"warning\"}\n{\"cursor\":\"x-3\",\"kind\":\"grace\"}\n")
		case "x-3":
			_, _ = fmt.Fprint(w, "{\"cursor\":\"x-4\",\"kind\":\"killed\"}\n{\"cursor\":")
		}
	})
	c, server := serve(t, mux)
	server.Start()
	refused := errors.New("enough")
	for _, test := range []struct {
		after, want, kinds string
		each               error
		fails              func(error) bool
	}{
		{after: "now", want: "x-1", fails: func(err error) bool { return err == nil }},
		{after: "x-1", want: "x-3", kinds: "warning grace ", fails: func(err error) bool { return err == nil }},
		{after: "x-3", want: "x-4", kinds: "killed ", fails: func(err error) bool { return err != nil }},
		{after: "x-1", want: "x-1", kinds: "warning ", each: refused, fails: func(err error) bool { return errors.Is(err, refused) }},
		{after: "bad", want: "bad", fails: func(err error) bool {
			answer, ok := errors.AsType[*wire.Error](err)
			return ok && answer.Code == "invalid_argument"
		}},
	} {
		kinds := ""
		cursor, err := c.Events(t.Context(), test.after, "c-1", true, func(e wire.Event) error {
			kinds += e.Kind + " "
			return test.each
		})
		if cursor != test.want || kinds != test.kinds || !test.fails(err) {
			t.Errorf("after %s: got %q, cursor %s and error %v; want %q and %s", test.after, kinds, cursor, err, test.kinds, test.want)
		}
	}
}
