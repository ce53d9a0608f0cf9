package simulator

import (
	"net/http"
	"time"
)

// Demo returns a service with a month of history that goes on, and the key of
// its environment, which opens nothing else.
func Demo() (service http.Handler, key string) {
	key = "tr_prod_demo"
	s := New(Options{Seed: 1, Latency: 20 * time.Millisecond})
	environment := s.Environment(EnvironmentOptions{Key: key})
	environment.Populate(Population{Seed: 1, Tokens: 20_000, Waiting: 150, Span: 30 * 24 * time.Hour})
	environment.Live(Rates{Seed: 2, PerSecond: 1, MeanWait: 5 * time.Minute})
	return s, key
}
