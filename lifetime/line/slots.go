package line

// Slots are what is held at once of a bounded number, by owners.
type Slots struct {
	Most, Held int
	Owners     map[string]int // how many of those held are an owner's
}

// Before tells whether owner a holds fewer than owner b.
func (s Slots) Before(a, b string) bool { return s.Owners[a] < s.Owners[b] }

// Free tells whether an owner may have one more, "" being nobody in particular. When one owner holds all, there is one more for all others:
// that owner may hold them for as long as it likes.
func (s Slots) Free(owner string) bool {
	if s.Held < s.Most {
		return true
	}
	for holder, n := range s.Owners {
		if holder != owner && n == s.Most && s.Held == s.Most {
			return true
		}
	}
	return false
}
