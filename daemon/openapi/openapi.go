// Package openapi describes the API to programs, in the words of OpenAPI 3.1.
package openapi

import (
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Document is the description, as JSON. It is written by hand; tests hold it to the code.
//
//go:embed openapi.json
var Document string

// Serve answers with the description.
func Serve(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(Document)))
	if _, err := io.WriteString(w, Document); err != nil {
		return fmt.Errorf("send description: %w", err)
	}
	return nil
}
