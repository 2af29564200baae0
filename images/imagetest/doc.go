// Package imagetest claims sandboxes of the images that `make images` builds and asks their servers under gVisor, and has clients of all kinds talk by the
// door. `make test-images` runs it.
package imagetest
