package simulator

import (
	"net/http"
	"time"
)

// Demo returns a service with a month of history whose tokens continue to change, and
// the key of its environment, which is valid nowhere else.
func Demo() (service http.Handler, key string) {
	key = "tr_prod_demo"
	s := New(Options{Seed: 1, Latency: 20 * time.Millisecond})
	environment := s.Environment(EnvironmentOptions{Key: key})
	environment.Populate(Population{Seed: 1, Tokens: 20_000, Waiting: 150, Span: 30 * 24 * time.Hour})
	environment.timeOut()
	environment.Live(Rates{Seed: 2, PerSecond: 1, MeanWait: 5 * time.Minute})
	return s, key
}

// timeOut lets the tokens that wait now time out when their timeout comes.
func (e *Environment) timeOut() {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	now := e.sim.now()
	e.waiting.Scan(func(_ string, r *row) bool {
		if r.Status == waiting && r.TimeoutAt.After(now) {
			r.Status, r.FinishedAt = timedOut, r.TimeoutAt.Add(300*time.Millisecond)
			r.CompletedAt = milli(r.FinishedAt)
		}
		return true
	})
}
