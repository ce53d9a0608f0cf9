package refresh_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/refresh"
)

var limiterSeeds = flag.Int("limiter.seeds", 15, "random histories of the limiter to try")

// gateway is the service's limiter with production's calls, behind a gateway that
// rewrites single headers. It holds what the exporter may do to the bucket.
type gateway struct {
	clock   func() time.Time // The service's.
	latency func() time.Duration
	garble  float64 // The share of headers that are rewritten.
	headers []string
	floor   int

	mu                 sync.Mutex
	rng                *rand.Rand
	size, left, refill int
	every              time.Duration
	next               time.Time
	production         int   // Requests of others that were served.
	tells              []int // production, as of each answer that tells what remains.
	told               int   // The newest of them that has arrived.
	served, refused    int
	probed             time.Time // When the exporter last went below the reserve without knowing that it may.
	probes             []time.Duration
}

// basis is what the exporter knew when a request got its turn.
type basis struct{ production int }

type basisKey struct{}

func (g *gateway) refills() {
	for now := g.clock(); !now.Before(g.next); g.next = g.next.Add(g.every) {
		g.left = min(g.size, g.left+g.refill)
	}
}

// producing makes the calls of others, so many a second, until ctx ends.
func (g *gateway) producing(ctx context.Context, rate float64) {
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		g.mu.Lock()
		g.refills()
		got := min(int(rate/10+g.rng.Float64()), g.left)
		g.left -= got
		g.production += got
		g.mu.Unlock()
	}
}

func (g *gateway) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(g.latency())
	header := g.serve(r.Context().Value(basisKey{}).(*basis))
	time.Sleep(g.latency())
	status, _ := strconv.Atoi(header.Get("Status"))
	return &http.Response{
		StatusCode: status, Header: header, Request: r, ContentLength: -1,
		Body: io.NopCloser(strings.NewReader(`{"data":[],"pagination":{}}`)),
	}, nil
}

// list asks for one page after another until ctx ends.
func (g *gateway) list(ctx context.Context, t *testing.T, limiter *refresh.Limiter) {
	api, err := client.New(client.Options{
		APIURL: "http://api.test", Key: func() (string, error) { return key, nil }, Transport: g,
		Limiter: knowing{limiter, g}, MaxAttempts: 1,
	})
	if err != nil {
		t.Error(err)
		return
	}
	for ctx.Err() == nil {
		if _, err := api.Pager(client.ListOptions{}).Next(context.WithValue(ctx, basisKey{}, new(basis))); err != nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (g *gateway) serve(known *basis) http.Header {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refills()
	g.served++
	header := http.Header{"Status": {"200"}, "Content-Type": {"application/json"}}
	if g.left > 0 {
		g.left--
	} else {
		g.refused++
		header.Set("Status", "429")
	}
	// What production has drawn since the answer that the exporter went by, it
	// could not know.
	if g.left+g.production-known.production < g.floor {
		now := time.Now()
		if !g.probed.IsZero() {
			g.probes = append(g.probes, now.Sub(g.probed))
		}
		g.probed = now
	}
	header.Set("Date", g.clock().UTC().Format(http.TimeFormat))
	header.Set("X-Ratelimit-Limit", strconv.Itoa(g.size))
	header.Set("X-Ratelimit-Remaining", strconv.Itoa(g.left))
	header.Set("X-Ratelimit-Reset", strconv.FormatInt(g.next.UnixMilli(), 10))
	told := true
	for _, name := range g.headers {
		if g.rng.Float64() >= g.garble {
			continue
		}
		told = told && name == "Date"
		switch delta := g.next.Sub(g.clock()); g.rng.IntN(6) {
		case 0:
			header.Del(name)
		case 1:
			header.Set(name, "")
		case 2:
			header.Set(name, strconv.Itoa(int(delta/time.Second)))
		case 3:
			header.Set(name, strconv.FormatInt(g.next.Unix(), 10))
		case 4:
			header.Set(name, g.next.UTC().Format(time.RFC3339))
		case 5:
			header.Set(name, strconv.FormatInt(g.next.UnixMicro(), 10))
		}
	}
	if told && header.Get("Status") == "200" {
		g.tells = append(g.tells, g.production)
		header.Set("Retry-After", strconv.Itoa(len(g.tells))) // By which knowing.Done finds it again.
	}
	return header
}

// knowing is a Limiter that notes what was known when it gave a turn.
type knowing struct {
	*refresh.Limiter
	gateway *gateway
}

func (k knowing) Wait(ctx context.Context) error {
	err := k.Limiter.Wait(ctx)
	k.gateway.mu.Lock()
	defer k.gateway.mu.Unlock()
	ctx.Value(basisKey{}).(*basis).production = k.gateway.told
	return err
}

func (k knowing) Done(a client.Attempt) {
	k.Limiter.Done(a)
	if n := int(a.RetryAfter / time.Second); n > 0 {
		k.gateway.mu.Lock()
		defer k.gateway.mu.Unlock()
		k.gateway.told = max(k.gateway.told, k.gateway.tells[n-1])
	}
}

// TestLimiterHistories holds that whatever the clocks, the latency, production
// and a gateway do, the exporter takes nothing of the reserve but what it cannot
// know of and a request a refill to see what there is; and that it never starves.
func TestLimiterHistories(t *testing.T) {
	for seed := range uint64(short(*limiterSeeds, 1)) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { limiterHistory(t, rand.New(rand.NewPCG(seed, 14))) })
		})
	}
}

func limiterHistory(t *testing.T, rng *rand.Rand) {
	pick := func(list ...int) int { return list[rng.IntN(len(list))] }
	var (
		reserve = []float64{0, .25, .5, .9}[rng.IntN(4)]
		offset  = time.Duration(rng.IntN(2*60_000)-60_000) / time.Duration(pick(1, 20)) * time.Millisecond
		slow    = pick(5, 50, 500)
		workers = pick(1, 4, 12)
		busy    = []float64{0, .3, .8, 1.2}[rng.IntN(4)] // Production's part of the refill.
		minutes = 30
	)
	g := &gateway{
		rng: rng, size: 750, refill: 250, every: 10 * time.Second, clock: func() time.Time { return time.Now().Add(offset) },
		garble: []float64{0, 0, .1, .5}[rng.IntN(4)],
	}
	if rng.IntN(2) == 0 {
		g.size, g.refill, g.every = 1500, 1500, time.Minute
	}
	g.headers = [][]string{
		{"Date"},
		{"X-Ratelimit-Limit"},
		{"X-Ratelimit-Remaining"},
		{"X-Ratelimit-Reset"},
		{"Date", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"},
	}[rng.IntN(5)]
	if name := g.headers[0]; len(g.headers) == 1 && (name == "Date" || name == "X-Ratelimit-Reset") && rng.IntN(2) == 0 {
		g.garble = 1 // There is enough to go by without it.
	}
	g.latency = func() time.Duration {
		g.mu.Lock()
		defer g.mu.Unlock()
		return time.Duration(1+rng.IntN(slow)) * time.Millisecond
	}
	g.floor = int(math.Ceil(reserve * float64(g.size)))
	g.left = g.size
	g.next = g.clock().Add(time.Duration(1 + rng.Int64N(int64(g.every))))
	what := fmt.Sprintf("reserve %g, clock %s, latency %d ms, %d workers, production %g, garble %g of %v, every %s",
		reserve, offset, slow, workers, busy, g.garble, g.headers, g.every)

	limit := refresh.NewRateLimit(time.Now)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(minutes)*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { g.list(ctx, t, limit.Limiter(refresh.LimiterOptions{Reserve: reserve})) })
	}
	group.Go(func() { g.producing(ctx, busy*float64(g.refill)/g.every.Seconds()) })
	starved := 0
	for before := 0; ctx.Err() == nil; {
		time.Sleep(2*g.every + time.Minute)
		g.mu.Lock()
		if g.served == before && ctx.Err() == nil {
			starved++
		}
		before = g.served
		g.mu.Unlock()
	}
	group.Wait()
	if starved > 0 {
		t.Errorf("%s: no request for %d whole spans", what, starved)
	}
	least := 10 * time.Second
	if g.garble == 0 {
		least = g.every
	}
	early := 0
	for _, since := range g.probes {
		if since < least-2*time.Second-2*time.Duration(slow)*time.Millisecond {
			early++
		}
	}
	if early > 0 {
		t.Errorf("%s: %d of %d requests below the reserve came in the same refill as another; %v", what, early, len(g.probes), g.probes)
	}
	all := min(g.refill, g.size-g.floor) * int(time.Duration(minutes)*time.Minute/g.every)
	all = min(all, workers*minutes*60*1000/(slow+1)) // A request takes that long, on average.
	if busy == 0 && g.garble == 0 && g.served < all*7/10 {
		t.Errorf("%s: %d requests of %d that could be made", what, g.served, all)
	}
	t.Logf("%s: %d served, %d refused, %d probes", what, g.served, g.refused, len(g.probes))
}
