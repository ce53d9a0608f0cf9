package refresh_test

import (
	"math/rand/v2"
	"time"
)

// What goes wrong in random histories, each by its name.

// A perturbation changes a scenario.
type perturbation struct {
	plan    func(*rand.Rand, *scenario)
	allowed allowance
}

// An allowance is by how much numbers may be late, and what may be counted, where
// the documentation says so.
type allowance struct {
	// Arrivals may be known this many verify intervals late, or this long.
	arriveTurns, arrive time.Duration
	// What has left WAITING may be shown there for this long besides.
	leave time.Duration
	// Quiet lasts so many verify intervals, and this long besides.
	turns, wait time.Duration
	// Counters may be other than zero, WAITING tokens may be listed in turn.
	corrections, late, turnwise bool
	broken                      bool // Assumptions are.
}

func (a *allowance) add(b allowance) {
	a.arriveTurns, a.arrive = max(a.arriveTurns, b.arriveTurns), max(a.arrive, b.arrive)
	a.leave = max(a.leave, b.leave)
	a.turns, a.wait = max(a.turns, b.turns), a.wait+b.wait
	a.corrections, a.late, a.turnwise = a.corrections || b.corrections, a.late || b.late, a.turnwise || b.turnwise
	a.broken = a.broken || b.broken
}

func (a allowance) settle(s *scenario) time.Duration { return a.turns*s.verify + a.wait }

// notHeld are the perturbations that numbers do not stand yet, and why. They are
// left out of histories that are drawn.
var notHeld = map[string]string{} //nolint:gochecknoglobals // A table.

var perturbationsByName = map[string]perturbation{} //nolint:gochecknoglobals // A table.
