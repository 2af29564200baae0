package pool

import "slices"

// State is where a sandbox is in its life. All but Reserved are written to the container's labels.
type State string

const (
	// Warming is a sandbox that is being made ready: started, paused or resumed.
	Warming State = "warming"
	// Available is a sandbox that is ready and paused.
	Available State = "warm"
	// Hot is a sandbox that is ready and runs.
	Hot State = "hot"
	// Reserved is a sandbox that is promised to a claim and not handed out yet. It is never written down.
	Reserved State = "reserved"
	// Claimed is a sandbox that belongs to a claim.
	Claimed State = "claimed"
	// Dead is a sandbox that died while claimed; it is kept so that its claim can say why.
	Dead State = "dead"
	// Terminating is a sandbox that is being destroyed, as often as it takes.
	Terminating State = "doomed"
)

// moves is the life of a sandbox: which states may follow each.
var moves = map[State][]State{
	Warming:     {Available, Hot, Reserved, Terminating},
	Available:   {Warming, Reserved, Terminating},
	Hot:         {Warming, Reserved, Terminating},
	Reserved:    {Warming, Claimed, Terminating},
	Claimed:     {Dead, Terminating},
	Dead:        {Terminating},
	Terminating: {},
}

// mayBecome tells whether a sandbox may go from one state to another.
func mayBecome(from, to State) bool { return slices.Contains(moves[from], to) }
