// Package encode writes values for programs.
package encode

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// JSON writes a value as JSON, indented.
func JSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// YAML writes as YAML what JSON would write, with the same names in the same order.
func YAML(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode value: %w", err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil { // JSON is YAML
		return fmt.Errorf("encode value: %w", err)
	}
	plain(&node)
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return fmt.Errorf("encode value: %w", err)
	}
	return encoder.Close()
}

// oldBooleans are texts that readers of YAML 1.1 take for booleans.
var oldBooleans = []string{"y", "n", "yes", "no", "on", "off"}

// plain takes the style of JSON off a node; what is empty keeps it.
func plain(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && !slices.Contains(oldBooleans, strings.ToLower(node.Value)) || len(node.Content) > 0 {
		node.Style = 0
	}
	for _, inner := range node.Content {
		plain(inner)
	}
}
