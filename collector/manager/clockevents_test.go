package manager_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client/simulator"
)

// TestClockEvents checks that tokens that are created and finish while the clock is set
// count once each, with a window and without one.
func TestClockEvents(t *testing.T) {
	for name, by := range map[string][]time.Duration{
		"an hour back":      {-time.Hour},
		"back and forth":    {-time.Hour, time.Hour},
		"ahead and back":    {time.Hour, -time.Hour},
		"days back":         {-3 * 24 * time.Hour},
		"days ahead":        {3 * 24 * time.Hour, -3 * 24 * time.Hour},
		"again and again":   {-time.Hour, -time.Hour, -time.Hour},
		"less than the lag": {-20 * time.Second, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			both := time.Now()
			synctest.Test(t, func(t *testing.T) {
				own := &clock{both: both, begun: time.Now()}
				w := newWorldAt(t, own.Now, simulator.Options{})
				e := w.service.Environment(simulator.EnvironmentOptions{Key: key("a"), Lag: 10 * time.Second})
				e.Populate(simulator.Population{Seed: 5, Tokens: 3000, Waiting: 100, Span: 3 * 24 * time.Hour, Tags: fewTags})
				w.apply("a|, tokens: {period: 1d}, tags: {limit: 0}")
				time.Sleep(3*time.Minute + 20*time.Second)
				flow := func() (created, finished float64) {
					families, err := w.manager.Gather()
					if err != nil {
						t.Fatal(err)
					}
					all := countersOf(families, "a")
					return all["waitpoint_tokens_created_total"], all["waitpoint_wait_duration_seconds COMPLETED"] + all["waitpoint_wait_duration_seconds TIMED_OUT"]
				}
				created, finished := flow()
				rng := rand.New(rand.NewPCG(1, 1))
				live := func(d time.Duration) {
					for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Second) {
						id := e.Add(simulator.Token{CreatedAt: time.Now(), Tags: fewTags(rng)})[0]
						created++
						if rng.IntN(2) == 0 {
							e.Finish(id, "COMPLETED")
							finished++
						}
						for _, token := range e.Tokens() {
							if token.Status == "WAITING" && rng.IntN(200) == 0 {
								e.Finish(token.ID, "TIMED_OUT")
								finished++
							}
						}
					}
				}
				live(5 * time.Minute)
				for _, d := range by {
					own.set(d)
					live(5 * time.Minute)
				}
				time.Sleep(5 * time.Minute)
				if c, f := flow(); c != created || f != finished {
					t.Errorf("%v created of %v, %v finished of %v", c, created, f, finished)
				}
			})
		})
	}
}
