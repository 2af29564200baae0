package encode

import (
	"strings"
	"testing"
)

func TestYAMLIsJSONInOrder(t *testing.T) {
	value := struct {
		Zone  string            `json:"zone"`
		Count int               `json:"count"`
		Given map[string]string `json:"given"`
		List  []string          `json:"list"`
		None  []string          `json:"none"`
	}{"yes", 3, map[string]string{"b": "17", "a": "x: y\n\x1b"}, []string{"null", "plain words"}, []string{}}
	const want = "zone: \"yes\"\ncount: 3\ngiven:\n  a: \"x: y\\n\\e\"\n  b: \"17\"\nlist:\n  - \"null\"\n  - plain words\nnone: []\n"
	var got strings.Builder
	if err := YAML(&got, value); err != nil || got.String() != want {
		t.Errorf("%v:\n%s\nwant\n%s", err, got.String(), want)
	}
}
