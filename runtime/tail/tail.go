// Package tail keeps the end of what is written. It is in process 1 of every sandbox, and imports nothing.
package tail

// Append appends to what is kept, of which the last bytes are left, most at most.
func Append(kept, more []byte, most int) []byte {
	kept = append(kept, more...)
	if over := len(kept) - most; over > 0 {
		kept = append(kept[:0], kept[over:]...)
	}
	return kept
}
