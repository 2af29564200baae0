package api

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/containerd/errdefs"

	"sandpool/configs"
)

// errTooMany is the class of errors about what one user has too much of at a time.
var errTooMany = errors.New("too many at once")

// The kinds of what is refused for being too much, as metrics show them.
const (
	refusedConnection = "connection"
	refusedExec       = "exec"
	refusedFollower   = "follower"
	refusedClaim      = "claim"
)

// Refusals are the kinds of what is refused for being too much, as metrics show them.
var Refusals = []string{refusedConnection, refusedExec, refusedFollower, refusedClaim}

// largePerUser is how many bodies over wire.MaxBody one user may send at a time: fewer than largeBodies, which are for all.
const largePerUser = 4

// crowd bounds what the users of the socket have of the daemon at a time, so that none takes it from the others.
type crowd struct {
	connections, execs, followers, claims, large *shares
}

// newCrowd reads the bounds anew for each that is taken. refused is told of each that is not.
func newCrowd(config func() *configs.Config, refused func(kind string)) *crowd {
	of := func(kind, what, key string, most func(configs.Limits) (each, all int)) *shares {
		return &shares{
			what: what, key: key, refused: func() { refused(kind) }, held: map[uint32]int{}, all: map[bool]int{},
			most: func() (each, all int) { return most(config().Limits) },
		}
	}
	const unbounded = math.MaxInt // in all there are no more than connections
	return &crowd{
		connections: of(refusedConnection, "connections", "limits.connections_per_user", func(l configs.Limits) (each, all int) { return connectionsIn(l, roomForConnections()) }),
		execs:       of(refusedExec, "execs", "limits.execs_per_user", func(l configs.Limits) (each, all int) { return l.ExecsPerUser, unbounded }),
		followers:   of(refusedFollower, "followers of events", "limits.followers_per_user", func(l configs.Limits) (each, all int) { return l.FollowersPerUser, unbounded }),
		claims:      of(refusedClaim, "claims under way", "limits.waiting_per_user", func(l configs.Limits) (each, all int) { return l.WaitingPerUser, unbounded }),
		large:       of(refusedExec, "large bodies under way", "", func(configs.Limits) (each, all int) { return largePerUser, unbounded }),
	}
}

// connectionsIn is how many connections each user may have, and all together. Where files leave room for few, no user shuts the others out for a moment.
func connectionsIn(l configs.Limits, room int) (each, all int) {
	if room >= l.Connections {
		return l.ConnectionsPerUser, l.Connections
	}
	return min(l.ConnectionsPerUser, max(1, room/2)), room
}

// shares bounds how many of one thing each user has, and all users together. Operators, who are root and the daemon's own user, have
// as many in all again, so that users never take theirs, and no bound each.
type shares struct {
	what    string                 // in the plural, for errors
	key     string                 // of the bound of each user; empty when it is none of the configuration's
	most    func() (each, all int) // as they are now
	refused func()

	mu   sync.Mutex
	held map[uint32]int
	all  map[bool]int // by whether they operate
}

// take takes one for who until leave is called. Its error says what to do, and is counted.
func (s *shares) take(who actor) (leave func(), err error) {
	if err := s.try(who); err != nil {
		s.refused()
		return nil, err
	}
	return func() { s.leave(who) }, nil
}

// try is take without the count.
func (s *shares) try(who actor) error {
	each, all := s.most()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch operates := who.operates(); {
	case !operates && s.held[who.uid] >= each:
		return tooMany(who, s.what, s.key, each)
	case s.all[operates] >= all:
		return errdefs.ErrUnavailable.WithMessage(fmt.Sprintf("the daemon has %d %s, as many as it takes (limits.connections): try again later", all, s.what))
	default:
		s.held[who.uid]++
		s.all[operates]++
		return nil
	}
}

func (s *shares) leave(who actor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[who.operates()]--
	if s.held[who.uid]--; s.held[who.uid] == 0 {
		delete(s.held, who.uid)
	}
}

func tooMany(who actor, what, key string, most int) error {
	if key != "" {
		key = " (" + key + ")"
	}
	return fmt.Errorf("%w: user %d has %d %s, as many as one user may have%s: end some and try again", errTooMany, who.uid, most, what, key)
}
