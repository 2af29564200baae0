package configs

import "fmt"

// Given is a secret that comes with what it is made of rather than with where that is.
type Given struct {
	Secret        // without File and Credential; CAFile has the certificates themselves
	Text   string // what goes in the place of Placeholder
}

// MaxGiven is how many secrets may come together.
const MaxGiven = 16

// CheckGiven looks at secrets that come together, and returns the headers of all and their values. Errors name fields behind key, and tell no secret.
func CheckGiven(key string, all []Given) (headers, values []string, err error) {
	found := &faults{}
	if len(all) > MaxGiven {
		found.add(key, "%d of them: want at most %d", len(all), MaxGiven)
		return nil, nil, found.err()
	}
	for i, s := range all {
		at := fmt.Sprintf("%s[%d]", key, i)
		s.checkBinding(at, found)
		if !isSecret(s.Text) {
			found.add(join(at, "secret"), wantSecret)
		}
		if s.CAFile != "" {
			if _, err := ParseAuthorities([]byte(s.CAFile)); err != nil {
				found.add(join(at, "ca"), "%v", err)
			}
		}
		for _, other := range all[:i] {
			if other.Name == s.Name {
				found.add(join(at, "name"), "%q: named twice", s.Name)
			}
			if host := s.disputes(other.Secret); host != "" {
				found.add(at, "%q and %q cannot both be used for %s: they have the same header, or other authorities", s.Name, other.Name, host)
			}
		}
		headers, values = append(headers, s.header()), append(values, s.with(s.Text))
	}
	return headers, values, found.err()
}
