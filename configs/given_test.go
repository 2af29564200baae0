package configs

import (
	"slices"
	"strings"
	"testing"
)

// TestGivenSecretsAreChecked looks at secrets that come from clients as at those of a file, and tells none.
func TestGivenSecretsAreChecked(t *testing.T) {
	const text = "a-t0ken"
	good := func(change func(*Given)) Given {
		s := Given{Secret: Secret{Name: "api", Hosts: []string{"a.test"}, Header: "x-key", Value: "Key {secret}"}, Text: text}
		if change != nil {
			change(&s)
		}
		return s
	}
	basic := good(func(s *Given) {
		s.Name, s.Header, s.Value, s.User = "basic", "", Placeholder, "me"
	})
	headers, values, err := CheckGiven("b", []Given{good(nil), basic})
	if err != nil || !slices.Equal(headers, []string{"X-Key", "Authorization"}) || !slices.Equal(values, []string{"Key a-t0ken", "Basic bWU6YS10MGtlbg=="}) {
		t.Errorf("%q, %q, %v", headers, values, err)
	}
	for _, c := range []struct {
		err string
		all []Given
	}{
		{"b[0].secret: want the secret in one line", []Given{good(func(s *Given) { s.Text = "" })}},
		{"b[0].secret: want the secret in one line", []Given{good(func(s *Given) { s.Text = text + "\r\nX-Other: 1" })}},
		{"b[0].secret: want the secret in one line", []Given{good(func(s *Given) { s.Text = strings.Repeat(text, maxSecret) })}},
		{"b[0].name: \"\"", []Given{good(func(s *Given) { s.Name = "" })}},
		{"b[0].hosts: 0 of them", []Given{good(func(s *Given) { s.Hosts = nil })}},
		{"b[0].hosts[0]", []Given{good(func(s *Given) { s.Hosts = []string{"*.test"} })}},
		{"b[0].header: want either this or user", []Given{good(func(s *Given) { s.User = "me" })}},
		{"b[0].header: \"Host\"", []Given{good(func(s *Given) { s.Header = "Host" })}},
		{"b[0].header: \"X-A\\r\\nB\"", []Given{good(func(s *Given) { s.Header = "X-A\r\nB" })}},
		{"b[0].value: want a text", []Given{good(func(s *Given) { s.Value = "Key" })}},
		{"b[0].value: want a text", []Given{good(func(s *Given) { s.Value = "{secret}\nX" })}},
		{"b[0].ca: no certificate", []Given{good(func(s *Given) { s.CAFile = "PEM" })}},
		{"b[1].name: \"api\": named twice", []Given{good(nil), good(func(s *Given) { s.Header = "X-Other" })}},
		{"cannot both be used for a.test", []Given{good(nil), good(func(s *Given) { s.Name = "other" })}},
		{"b: 17 of them", make([]Given, MaxGiven+1)},
	} {
		if _, _, err := CheckGiven("b", c.all); err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), text) {
			t.Errorf("%v; want %s", err, c.err)
		}
	}
}
