// Package metadata is what owners of claims say about them, as the text that claims are labelled with.
package metadata

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"sandpool/daemon/wire"
)

// Sizes of a claim's metadata, in bytes.
const (
	maxValue = 256
	maxAll   = 3 << 10 // of all of it as JSON: it is in a label, and containerd's have at most 4096
)

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$`)

// Encode returns the text that stands for a claim's metadata, empty for none.
func Encode(metadata map[string]string) (string, error) {
	if len(metadata) == 0 {
		return "", nil
	}
	if len(metadata) > wire.MaxMetadata {
		return "", fmt.Errorf("%d names, and the limit is %d", len(metadata), wire.MaxMetadata)
	}
	for name, value := range metadata {
		if !validName.MatchString(name) {
			return "", fmt.Errorf("%.64q: want a name of 1 to 63 letters, digits and . _ / -", name)
		}
		if len(value) > maxValue || strings.ContainsFunc(value, unicode.IsControl) {
			return "", fmt.Errorf("%s: want a value of at most %d bytes without control characters", name, maxValue)
		}
	}
	text, err := json.Marshal(metadata) // sorts the names
	if err == nil && len(text) > maxAll {
		err = fmt.Errorf("%d bytes as JSON, and the limit is %d", len(text), maxAll)
	}
	return string(text), err
}

// Decode reads what Encode wrote. What somebody else wrote into the label counts for nothing.
func Decode(text string) map[string]string {
	var metadata map[string]string
	if text == "" || json.Unmarshal([]byte(text), &metadata) != nil {
		return nil
	}
	return metadata
}

// Filter tells whether metadata has all that a query asks for, by NAME=VALUE in its parameters metadata.
func Filter(rawQuery string) (wanted func(text string) bool, err error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	for key := range query {
		if key != "metadata" {
			return nil, fmt.Errorf("query: unknown parameter %.64q", key)
		}
	}
	for _, pair := range query["metadata"] {
		if !strings.Contains(pair, "=") {
			return nil, fmt.Errorf("metadata: %.64q: want NAME=VALUE", pair)
		}
	}
	return func(text string) bool {
		if len(query) == 0 {
			return true
		}
		has := Decode(text)
		return !slices.ContainsFunc(query["metadata"], func(pair string) bool {
			name, value, _ := strings.Cut(pair, "=")
			got, there := has[name]
			return !there || got != value
		})
	}, nil
}
