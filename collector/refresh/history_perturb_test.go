package refresh_test

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	"waitpoint_exporter/collector/index"
)

// The perturbations of random histories, by name.

// A perturbation changes a scenario.
type perturbation struct {
	plan    func(*rand.Rand, *scenario)
	allowed allowance
}

// An allowance is how late numbers may be, and which counters may count, as documented
// for a perturbation.
type allowance struct {
	// Arrivals may be known this many verify intervals late, or this long.
	arriveTurns int
	arrive      time.Duration
	// Tokens that have left WAITING may be shown as WAITING for this much longer.
	leave time.Duration
	// A quiet time lasts this many verify intervals longer, plus this time.
	turns int
	wait  time.Duration
	// The counters of corrections and late arrivals may be other than zero, WAITING
	// tokens may be listed in turn.
	corrections, late, turnwise bool
	broken                      bool // Assumptions are broken.
	// WAITING may lack tokens that count as unresolved: a replica is too far behind to
	// show them, and they are not looked up yet.
	lacking bool
}

func (a *allowance) add(b allowance) {
	a.arriveTurns, a.arrive = max(a.arriveTurns, b.arriveTurns), max(a.arrive, b.arrive)
	a.leave = max(a.leave, b.leave)
	a.turns, a.wait = max(a.turns, b.turns), a.wait+b.wait
	a.corrections, a.late, a.turnwise = a.corrections || b.corrections, a.late || b.late, a.turnwise || b.turnwise
	a.broken, a.lacking = a.broken || b.broken, a.lacking || b.lacking
}

func (a allowance) settle(s *scenario) time.Duration { return time.Duration(a.turns)*s.verify + a.wait }

// trust is how long absence does not count after a replica was found to lag by more
// than documented.
const trust = 10 * time.Minute

var perturbationsByName = map[string]perturbation{
	// Within documented limits: everything is correct.
	// A look-up that met a lagging replica is repeated when no replica can lag.
	"lag": {
		plan:    func(_ *rand.Rand, s *scenario) { s.lag, s.skew = 28*time.Second, 0 },
		allowed: allowance{wait: documentedLag},
	},
	"skew": {plan: func(_ *rand.Rand, s *scenario) { s.lag, s.skew = 14*time.Second, 14*time.Second }},
	"long": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.interval, s.verify = pickOf(rng, 10*time.Minute, 20*time.Minute), 24*time.Hour
			for range 10 {
				s.churn(rng)
				s.then(step{kind: "sleep", d: time.Duration(1+rng.IntN(5)) * time.Hour})
			}
		},
	},
	"window": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.period = time.Duration(2+rng.IntN(10)) * s.interval
			s.waitingWithin = rng.IntN(3) == 0
			s.insert(rng, step{kind: "sleep", d: s.period}, step{kind: "finish", d: time.Minute, share: .5, seed: rng.Uint64()})
		},
	},
	"bulk": {
		plan: func(rng *rand.Rand, s *scenario) {
			for range 1 + rng.IntN(3) {
				s.insert(rng, step{kind: pickOf(rng, "create", "quick"), n: 150 + rng.IntN(600), seed: rng.Uint64()})
			}
		},
	},
	"tags": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.tags.Limit = rng.IntN(9)
			if rng.IntN(2) == 0 {
				s.tags.Rewrite = []index.Rewrite{{Match: regexp.MustCompile("^(?:(team|user):.*)$"), Replacement: "$1"}}
			}
			if rng.IntN(3) == 0 {
				s.tags.Exclude = regexp.MustCompile("^(?:a|b|user:1.*)$")
			}
		},
	},
	"restarts": {
		plan: func(rng *rand.Rand, s *scenario) {
			for range 1 + rng.IntN(3) {
				s.insert(rng, step{kind: "restart"})
			}
		},
	},
	"reloads": {
		plan: func(rng *rand.Rand, s *scenario) {
			for range 1 + rng.IntN(3) {
				s.insert(rng, step{kind: "reload", seed: rng.Uint64()})
			}
		},
	},
	"latency": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.latency, s.jitter = time.Duration(rng.IntN(300))*time.Millisecond, time.Duration(rng.IntN(200))*time.Millisecond
		},
		allowed: allowance{turnwise: true},
	},
	"low limit": {
		plan: func(_ *rand.Rand, s *scenario) {
			s.size, s.refill, s.share = 60, 20, .25
			s.interval = max(s.interval, time.Minute)
			s.allowed.wait += 10 * s.interval
		},
		allowed: allowance{turnwise: true},
	},
	"production": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.size, s.refill, s.share, s.production = 750, 250, .25, float64(rng.IntN(18))
		},
		allowed: allowance{turnwise: true},
	},
	// More WAITING tokens than the share allows to list in an interval.
	"many waiting": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.size, s.refill, s.share, s.interval = 240, 80, .25, time.Minute
			s.verify = time.Duration(1+rng.IntN(4)) * time.Hour
			s.waiting = 2_000 + rng.IntN(18_000)
			s.tokens = s.waiting + rng.IntN(3_000)
		},
		allowed: allowance{turnwise: true, wait: 20 * time.Minute},
	},
	// The service fails for a time.
	"outages": {
		plan: func(rng *rand.Rand, s *scenario) {
			for range 1 + rng.IntN(3) {
				s.insert(rng, step{
					kind: "mishap", what: pickOf(rng, "drop", "500", "401", "503", "html", "cut", "hang", "slow"), share: 1, seed: rng.Uint64(),
					d: time.Duration(rng.Int64N(int64(pickOf(rng, time.Minute, 10*time.Minute, 3*time.Hour)))), amount: time.Duration(rng.IntN(60)) * time.Second,
				}, step{kind: "sleep", d: pickOf(rng, 0, time.Hour)})
			}
		},
		allowed: allowance{turnwise: true, wait: 2 * time.Minute},
	},
	"flaky": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.insert(rng, step{
				kind: "mishap", what: pickOf(rng, "drop", "500", "503", "html", "cut", "slow"), share: pickOf(rng, .02, .1, .4),
				d: 24 * time.Hour, amount: 2 * time.Second,
			})
		},
		allowed: allowance{turnwise: true, wait: 2 * time.Minute},
	},
	// Replicas lag by more than documented.
	"stuck replica": {
		plan: func(rng *rand.Rand, s *scenario) {
			d := time.Duration(5+rng.IntN(60)) * time.Minute
			s.insert(rng, step{kind: "mishap", what: "stuck", share: pickOf(rng, .1, .33, .6), d: d})
			s.allowed.leave = max(s.allowed.leave, d+trust+2*s.interval)
		},
		allowed: allowance{arriveTurns: 1, turns: 3, wait: 2 * trust, corrections: true, late: true, turnwise: true, broken: true, lacking: true},
	},
	"replica behind": {
		plan: func(rng *rand.Rand, s *scenario) {
			behind := time.Duration(1+rng.IntN(10)) * time.Minute
			s.insert(rng, step{kind: "mishap", what: "behind", share: pickOf(rng, .05, .2, .5), d: pickOf(rng, time.Minute, 2*time.Hour), amount: behind})
			s.allowed.leave = max(s.allowed.leave, behind+trust+2*s.interval)
		},
		allowed: allowance{arriveTurns: 1, turns: 3, wait: 2 * trust, corrections: true, late: true, turnwise: true, broken: true, lacking: true},
	},
	"store behind": {
		plan: func(rng *rand.Rand, s *scenario) {
			behind := time.Duration(1+rng.IntN(10)) * time.Minute
			s.insert(rng, step{kind: "mishap", what: "store behind", share: 1, d: pickOf(rng, time.Minute, 2*time.Hour), amount: behind})
			s.allowed.arrive = max(s.allowed.arrive, behind) // No page shows this store as it is.
			s.allowed.leave = max(s.allowed.leave, behind+trust+2*s.interval)
		},
		allowed: allowance{arriveTurns: 1, turns: 3, wait: 2 * trust, corrections: true, late: true, turnwise: true, broken: true, lacking: true},
	},
	// The order of the list changes.
	"host ahead": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.insert(rng, step{kind: "skew", amount: pickOf(rng, 35*time.Second, time.Minute, 2*time.Minute)})
		},
		allowed: allowance{late: true, broken: true},
	},
	"host behind": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.insert(rng, step{kind: "skew", amount: -pickOf(rng, 35*time.Second, time.Minute, 2*time.Minute)})
		},
		allowed: allowance{arriveTurns: 1, turns: 1, late: true, corrections: true, broken: true},
	},
	"hosts apart": {
		plan: func(rng *rand.Rand, s *scenario) {
			off := pickOf(rng, 35*time.Second, time.Minute, 2*time.Minute)
			s.insert(rng, step{kind: "skew", amount: off}, step{kind: "skew", amount: -off})
		},
		allowed: allowance{arriveTurns: 1, turns: 1, late: true, corrections: true, broken: true},
	},
	"new ids": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.insert(rng, step{kind: "new ids"})
		},
		allowed: allowance{arriveTurns: 1, turns: 1, late: true, corrections: true, broken: true},
	},
	"mixed ids": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.insert(rng, step{kind: "new ids", share: .5})
		},
		allowed: allowance{arriveTurns: 1, turns: 1, late: true, corrections: true, broken: true},
	},
	"by creation": {
		plan:    func(rng *rand.Rand, s *scenario) { s.insert(rng, step{kind: "by creation"}) },
		allowed: allowance{late: true, broken: true, turnwise: true},
	},
	"imports": {
		plan: func(rng *rand.Rand, s *scenario) {
			for range 1 + rng.IntN(3) {
				s.insert(rng, step{
					kind: "import", n: 1 + rng.IntN(150), share: pickOf(rng, 0., 1), amount: -time.Duration(rng.IntN(72)) * time.Hour, seed: rng.Uint64(),
				})
			}
		},
		allowed: allowance{arriveTurns: 1, turns: 1, late: true, corrections: true, broken: true},
	},
	"dated ahead": {
		plan: func(rng *rand.Rand, s *scenario) {
			for range 1 + rng.IntN(3) {
				s.insert(rng, step{
					kind: "import", n: 1 + rng.IntN(150), share: pickOf(rng, 0., 1), amount: time.Duration(1+rng.IntN(48)) * time.Hour, seed: rng.Uint64(),
				})
			}
		},
		allowed: allowance{arriveTurns: 1, late: true, broken: true},
	},
	"deletions": {
		plan: func(rng *rand.Rand, s *scenario) {
			for range 1 + rng.IntN(2) {
				s.insert(rng, step{kind: "delete", what: pickOf(rng, "finished", "old", "waiting"), share: pickOf(rng, .05, .5, 1), seed: rng.Uint64()})
			}
		},
		// Deleted tokens at the top look like a lagging replica: for a while absence
		// does not count, nor does a turn of the verify walk in that time.
		allowed: allowance{leave: 2 * trust, turns: 4, wait: 2 * trust, corrections: true, broken: true, turnwise: true, late: true},
	},
	// Pages change.
	"short pages": {
		plan: func(rng *rand.Rand, s *scenario) {
			if rng.IntN(2) == 0 {
				s.pageSize = 10 + rng.IntN(40)
			} else {
				s.insert(rng, step{kind: "mishap", what: "short", share: .3, d: 1000 * time.Hour})
			}
		},
		allowed: allowance{broken: true},
	},
	"empty pages": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.insert(rng, step{kind: "mishap", what: "empty", share: .02, d: 1000 * time.Hour})
		},
		allowed: allowance{turnwise: true, broken: true, late: true},
	},
	"nothing": { // For a while all answers are empty.
		plan: func(rng *rand.Rand, s *scenario) {
			s.tokens = max(s.tokens, 20)
			s.insert(rng, step{kind: "mishap", what: "nothing", share: 1, d: min(time.Duration(1+rng.IntN(40))*time.Minute, s.verify)})
		},
		allowed: allowance{turnwise: true, broken: true, turns: 1, wait: trust},
	},
	"no waiting": { // For a while all or some answers lack the WAITING tokens that were asked for.
		plan: func(rng *rand.Rand, s *scenario) {
			s.steps = slices.Insert(s.steps, 0, step{kind: "sleep", d: time.Minute + 2*s.interval})
			s.insert(rng, step{
				kind: "mishap", what: "no waiting", share: pickOf(rng, .5, 1), d: time.Duration(1+rng.IntN(40)) * time.Minute,
			})
		},
		allowed: allowance{turnwise: true, broken: true},
	},
	"cut pages": {
		plan: func(_ *rand.Rand, s *scenario) {
			s.steps = slices.Insert(s.steps, 0, step{kind: "mishap", what: "end", share: .003, d: 1000 * time.Hour})
		},
		allowed: allowance{turnwise: true, broken: true, late: true},
	},
	"disorder": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.insert(rng, step{kind: "mishap", what: "disorder", share: pickOf(rng, .02, .5), d: time.Duration(1+rng.IntN(120)) * time.Minute})
		},
		allowed: allowance{broken: true, late: true, turnwise: true},
	},
	// Gateways with other clocks set the Date of answers.
	"dates": {
		plan: func(rng *rand.Rand, s *scenario) {
			s.steps = slices.Insert(s.steps, 0, step{
				kind: "mishap", what: "date", share: pickOf(rng, .02, .3, .6), d: 1000 * time.Hour,
				amount: time.Duration(pickOf(rng, 1, -1)*15*(1+rng.IntN(600))) * time.Second,
			})
		},
		allowed: allowance{broken: true}, // Most of the last answers may be wrong.
	},
	// Our own clock.
	"clock ahead":  {plan: func(rng *rand.Rand, s *scenario) { s.ahead = time.Duration(rng.IntN(7200)) * time.Second }},
	"clock behind": {plan: func(rng *rand.Rand, s *scenario) { s.ahead = -time.Duration(rng.IntN(7200)) * time.Second }},
}

//nolint:gochecknoinits // The table of acts would refer to itself.
func init() {
	acts["restart"] = func(h *history, _ step) { h.stop(); h.start() }
	acts["reload"] = (*history).reload
	acts["mishap"] = func(h *history, s step) {
		h.db.mu.Lock()
		defer h.db.mu.Unlock()
		now := time.Now()
		h.db.mishaps = append(h.db.mishaps, mishap{kind: s.what, from: now, until: now.Add(s.d), share: s.share, amount: s.amount})
	}
	acts["skew"] = func(h *history, s step) { h.skews = append(h.skews, s.amount) }
	acts["new ids"] = func(h *history, s step) { h.newIDs, h.mixed = true, s.share > 0 }
	acts["by creation"] = func(h *history, _ step) {
		h.db.mu.Lock()
		defer h.db.mu.Unlock()
		h.db.reorder()
	}
	acts["import"] = (*history).add
	acts["delete"] = (*history).remove
}

// reload restarts with other settings.
func (h *history) reload(s step) {
	rng := rand.New(rand.NewPCG(s.seed, 0))
	h.stop()
	changed := *h.scenario
	h.scenario = &changed
	switch rng.IntN(3) {
	case 0:
		h.period = time.Duration(rng.IntN(24)) * time.Hour
	case 1:
		h.tags.Limit = rng.IntN(5)
	case 2:
		h.concurrency = 1 + rng.IntN(4)
	}
	h.start()
}

// add writes tokens now with a createdAt at another time. Their ids are by that time or
// by the current one.
func (h *history) add(s step) {
	rng := rand.New(rand.NewPCG(s.seed, 0))
	now := time.Now()
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	tokens := make([]*stored, 0, s.n)
	for range s.n {
		t := h.token(rng, now, s.amount+time.Duration(rng.IntN(600))*time.Second)
		if s.share > 0 {
			t.id = h.db.newID(now)
		}
		if rng.IntN(2) == 0 {
			t.finished = now
		}
		tokens = append(tokens, t)
	}
	h.db.add(tokens...)
}

// remove deletes tokens: a share of the finished or of the WAITING ones, or the oldest.
func (h *history) remove(s step) {
	rng := rand.New(rand.NewPCG(s.seed, 0))
	now := time.Now()
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	for i, t := range h.db.rows {
		status := t.statusAt(now)
		switch {
		case status == "":
		case s.what == "old" && float64(i) < (1-s.share)*float64(len(h.db.rows)):
		case s.what == "waiting" && (status != "WAITING" || rng.Float64() >= s.share):
		case s.what == "finished" && (status == "WAITING" || rng.Float64() >= s.share):
		default:
			t.deleted = now
		}
	}
}
