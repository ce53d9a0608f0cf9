package ratelimit_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/collector/ratelimit"
	"waitpoint_exporter/test/size"
)

var (
	seeds     = flag.Uint64("seeds", size.Of[uint64](12, 200), "number of random histories")
	firstSeed = flag.Uint64("seed", 0, "seed of the first of them")
)

// TestHistories checks that with any clocks, latency, production and gateway the
// exporter takes from the reserve only one probe a step and what it cannot know of, and
// that it never starves.
func TestHistories(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { history(t, rand.New(rand.NewPCG(seed, 14))) })
		})
	}
}

func history(t *testing.T, rng *rand.Rand) {
	pick := func(list ...int) int { return list[rng.IntN(len(list))] }
	var (
		reserve = []float64{0, .25, .5, .9}[rng.IntN(4)]
		ahead   = time.Duration(rng.IntN(2*60_000)-60_000) / time.Duration(pick(1, 20)) * time.Millisecond
		slow    = pick(5, 50, 500)
		workers = pick(1, 4, 12)
		busy    = []float64{0, .3, .8, 1.2}[rng.IntN(4)] // Production's fraction of the refill.
		minutes = 30
	)
	s := newService(750, 250, 10*time.Second, ahead)
	if rng.IntN(2) == 0 {
		s = newService(1500, 1500, time.Minute, ahead)
	}
	s.rng, s.latency = rng, time.Duration(slow)*time.Millisecond
	s.floor = int(math.Ceil(reserve * float64(s.size)))
	s.next = s.clock().Add(time.Duration(1 + rng.Int64N(int64(s.every))))
	s.garble = []float64{0, 0, .1, .5}[rng.IntN(4)]
	all := []string{"Date", "Limit", "Remaining", "Reset"}
	s.headers = [][]string{all[:1], all[1:2], all[2:3], all[3:], all}[rng.IntN(5)]
	if name := s.headers[0]; len(s.headers) == 1 && (name == "Date" || name == "Reset") && rng.IntN(2) == 0 {
		s.garble = 1 // The exporter knows enough without it.
	}
	what := fmt.Sprintf("reserve %g, clock %s, latency %d ms, %d workers, production %g, garble %g of %v, every %s",
		reserve, ahead, slow, workers, busy, s.garble, s.headers, s.every)

	limit := ratelimit.New(time.Now)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(minutes)*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { s.list(ctx, limit.Limiter(ratelimit.Options{Reserve: reserve})) })
	}
	group.Go(func() { s.produce(ctx, busy*float64(s.refill)/s.every.Seconds()) })
	starved := 0
	for before := 0; ctx.Err() == nil; {
		time.Sleep(2*s.every + time.Minute)
		s.mu.Lock()
		if s.served == before && ctx.Err() == nil {
			starved++
		}
		before = s.served
		s.mu.Unlock()
	}
	group.Wait()
	if starved > 0 {
		t.Errorf("%s: no request for %d whole spans", what, starved)
	}
	least := 10 * time.Second
	if s.garble == 0 {
		least = s.every
	}
	early := 0
	for _, since := range s.probes {
		if since < least-2*time.Second-2*s.latency {
			early++
		}
	}
	if early > 0 {
		t.Errorf("%s: %d of %d requests below the reserve came in the same step as another; %v",
			what, early, len(s.probes), s.probes)
	}
	possible := min(s.refill, s.size-s.floor) * int(time.Duration(minutes)*time.Minute/s.every)
	possible = min(possible, workers*minutes*60*1000/(slow+1)) // The average time of a request.
	if busy == 0 && s.garble == 0 && s.served < possible*7/10 {
		t.Errorf("%s: %d requests of %d that could be made", what, s.served, possible)
	}
	t.Logf("%s: %d served, %d refused, %d probes", what, s.served, s.refused, len(s.probes))
}
