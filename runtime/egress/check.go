package egress

import "fmt"

// Fault is what is wrong with one rule of a layer.
type Fault struct {
	List  string // "allow", "deny" or "preset"
	Index int    // from 0
	Err   error
}

// Error says where it is, too.
func (f *Fault) Error() string { return fmt.Sprintf("%s[%d]: %v", f.List, f.Index, f.Err) }

func (f *Fault) Unwrap() error { return f.Err }

// Check says all that is wrong with the rules of a layer: what cannot be read, what is there twice, and what is allowed and then denied as a whole.
func (p Policy) Check() []*Fault {
	var faults []*Fault
	tell := func(r *rule, err error) {
		faults = append(faults, &Fault{List: r.list, Index: r.index, Err: err})
	}
	allow, deny, unread := p.read()
	faults = append(faults, unread...)
	for _, list := range [][]rule{allow, deny} {
		for i := range list {
			if first := twin(list, i); first != nil && list[i].list != "preset" {
				tell(&list[i], fmt.Errorf("rule %s says what %s[%d] says already", quote(list[i].text), first.list, first.index))
			}
		}
	}
	for i := range allow {
		if by := denier(deny, &allow[i]); by != nil && allow[i].list != "preset" {
			tell(&allow[i], fmt.Errorf("rule %s allows nothing, since deny[%d], %q, denies all of it", quote(allow[i].text), by.index, by.text))
		}
	}
	return faults
}

// twin is another rule of the list that says the same as one: the first, for all behind it.
func twin(list []rule, i int) *rule {
	for j := range i {
		if list[j].covers(&list[i]) && list[i].covers(&list[j]) {
			return &list[j]
		}
	}
	return nil
}

func denier(deny []rule, of *rule) *rule {
	for i := range deny {
		if deny[i].covers(of) {
			return &deny[i]
		}
	}
	return nil
}
