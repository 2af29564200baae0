// Package imagetest claims sandboxes of the images that `make images` builds and asks their servers under gVisor. `make test-images` runs it.
package imagetest
