package lifetime

// Turns counts the rounds of the loop and has it go another: a count that stays the same is of a loop that hangs.
func (w *Warden) Turns() uint64 {
	w.poke()
	return w.rounds.Load()
}
