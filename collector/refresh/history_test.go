package refresh_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/index"
	"waitpoint_exporter/collector/ratelimit"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/test/size"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
)

// Random histories of a service and of its metrics. A history is a list of steps, drawn
// from a seed. After every refresh all numbers are compared with the service's tokens
// (history_check_test.go). The faults are in history_perturb_test.go. A history that
// fails is reduced as far as it still fails, and printed.

var (
	histories = flag.Int("histories", size.Of(6, 5), "random histories of each kind to try")
	firstSeed = flag.Uint64("seed", 1, "seed of the first random history")
	perturb   = flag.String("perturb", size.Of("", "each"), "perturbations of the random histories, comma-separated; empty: drawn from the seed; \"each\": drawn, none, and each of them alone")
	keepWhole = flag.Bool("whole", false, "do not make a history that fails smaller")
	printAll  = flag.Bool("requests", false, "print the requests and the log of the smallest history that fails")
)

// A scenario is the plan of a history.
type scenario struct {
	seed                       uint64
	perturbations              []string
	interval, verify, period   time.Duration
	waitingWithin              bool
	tags                       index.TagRules
	concurrency                int
	latency, jitter, lag, skew time.Duration
	size, refill               int     // Of the rate limit.
	production                 float64 // Requests a second.
	share                      float64 // Of what the rate limit refills; zero for no bound.
	pageSize                   int
	ahead                      time.Duration // Of our clock.
	tokens, waiting            int           // At the start.
	span                       time.Duration
	allowed                    allowance
	steps                      []step
}

// A step is an event, or time that passes. Its random numbers come from its own seed,
// so that they do not change when another step is removed.
type step struct {
	kind   string
	what   string
	n      int
	d      time.Duration
	amount time.Duration
	share  float64
	seed   uint64
}

func (s step) String() string {
	return fmt.Sprintf("%s %s n=%d d=%s amount=%s share=%g seed=%d", s.kind, s.what, s.n, s.d, s.amount, s.share, s.seed)
}

func (s *scenario) String() string {
	var b strings.Builder
	head := *s
	head.steps = nil
	fmt.Fprintf(&b, "%+v\n", head)
	for _, step := range s.steps {
		fmt.Fprintf(&b, "  %s\n", step)
	}
	return b.String()
}

func pickOf[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// drawScenario returns the scenario of a seed.
func drawScenario(seed uint64, perturbations []string) *scenario {
	rng := rand.New(rand.NewPCG(seed, 10))
	s := &scenario{
		seed: seed, interval: pickOf(rng, 15*time.Second, time.Minute, time.Minute, 5*time.Minute),
		concurrency: 1 + rng.IntN(4), latency: 5 * time.Millisecond, jitter: 30 * time.Millisecond,
		lag: time.Duration(rng.IntN(3)) * 8 * time.Second, skew: time.Duration(rng.IntN(3)) * 4 * time.Second,
		size: 1 << 20, refill: 1 << 20,
		tokens: rng.IntN(1500), waiting: rng.IntN(250), span: time.Duration(1+rng.IntN(72)) * time.Hour,
	}
	s.verify = time.Duration(10+rng.IntN(60)) * s.interval
	if rng.IntN(2) == 0 {
		s.period = time.Duration(1+rng.IntN(48)) * time.Hour
		s.waitingWithin = rng.IntN(3) == 0
	}
	s.waiting = min(s.waiting, s.tokens)
	if rng.IntN(4) > 0 {
		s.then(step{kind: "sleep", d: time.Minute + 2*s.interval})
	}
	for range 4 + rng.IntN(12) {
		s.churn(rng)
	}
	if len(perturbations) == 1 && perturbations[0] == "" {
		perturbations = nil
	}
	s.perturbations = perturbations
	for _, name := range perturbations {
		p, ok := perturbationsByName[name]
		if !ok {
			panic("no perturbation is called " + name)
		}
		s.allowed.add(p.allowed)
		p.plan(rng, s)
	}
	// The limit is always enough for production.
	s.production = min(s.production, .7*float64(s.refill)/refillEvery.Seconds())
	s.then(step{kind: "quiet"})
	return s
}

func (s *scenario) then(steps ...step) { s.steps = append(s.steps, steps...) }

// insert inserts steps at random places, in their order.
func (s *scenario) insert(rng *rand.Rand, steps ...step) {
	i := min(1, len(s.steps))
	for _, st := range steps {
		i += rng.IntN(len(s.steps) - i + 1)
		s.steps = slices.Insert(s.steps, i, st)
		i++
	}
}

// churn adds the usual steps of some refreshes.
func (s *scenario) churn(rng *rand.Rand) {
	span := time.Duration(1+rng.Int64N(4)) * s.interval / 2
	kind := pickOf(rng, "create", "create", "create", "finish", "quick")
	st := step{kind: kind, d: span, seed: rng.Uint64(), n: rng.IntN(1 + pickOf(rng, 3, 30, 250)), share: pickOf(rng, 0, .01, .1, .5)}
	s.then(st, step{kind: "sleep", d: time.Duration(rng.Int64N(int64(2*s.interval))) + time.Millisecond})
	if rng.IntN(8) == 0 {
		s.then(step{kind: "quiet"})
	}
}

// A history is a scenario that is played.
type history struct {
	*scenario

	db      *database
	print   func(...any) // Prints the events; may be nil.
	problem string       // The first difference that was found.
	mu      sync.Mutex   // For checks, which are made by refreshes and between them.

	subject *refresh.Environment
	opts    refresh.Options
	limiter *ratelimit.Limiter
	limit   *ratelimit.Limit
	metrics *prometheus.Registry
	cancel  context.CancelFunc
	done    chan struct{}
	watch

	newIDs, mixed bool
	skews         []time.Duration // Of other hosts than the usual one.
	epoch         time.Time
}

// play runs a scenario and returns the first difference, empty if there is none.
func play(t *testing.T, s *scenario, trace func(...any)) (problem string) {
	synctest.Test(t, func(*testing.T) {
		h := &history{scenario: s, epoch: time.Now(), print: trace}
		problem = h.play()
	})
	return problem
}

func (h *history) play() string {
	h.db = &database{
		latency: h.latency, jitter: h.jitter, lag: h.lag, size: h.size, refill: h.refill, left: h.size, refilled: time.Now(),
		production: h.production, pageSize: h.pageSize, print: h.print,
	}
	h.populate()
	h.limit = ratelimit.New(h.now)
	h.start()
	defer func() { h.stop() }()
	for i, st := range h.steps {
		act, ok := acts[st.kind]
		if !ok {
			panic("no step is called " + st.kind)
		}
		act(h, st)
		synctest.Wait()
		h.checkNow(fmt.Sprintf("after step %d, %s", i, st))
		if h.problem != "" {
			return h.problem
		}
	}
	h.checkCost()
	return h.problem
}

// fail records the first difference.
func (h *history) fail(format string, args ...any) {
	if h.problem == "" {
		h.problem = fmt.Sprintf("%s after the start: ", time.Since(h.epoch)) + fmt.Sprintf(format, args...)
	}
}

// start starts a new exporter.
func (h *history) start() {
	h.db.shown, h.db.seen = false, false
	h.metrics = prometheus.NewRegistry()
	h.opts = refresh.Options{
		Interval: h.interval, MaxStaleness: max(10*time.Minute, 3*h.interval), VerifyInterval: h.verify,
		Concurrency: h.concurrency, Period: h.period, WaitingWithinPeriod: h.waitingWithin, Tags: h.tags,
		Logger: log.LoggerFunc(h.logged), Metrics: refresh.NewMetrics(h.metrics, nil), Now: h.now,
	}
	h.limiter = h.limit.Limiter(ratelimit.Options{Reserve: .5, Share: h.share, Interval: h.interval})
	api, err := client.New(client.Options{
		APIURL: "http://api.test", Key: func() (string, error) { return key, nil }, Transport: h.db, Limiter: h.limiter, Now: h.now,
	})
	if err != nil {
		panic(err)
	}
	h.subject = refresh.New(api, h.opts)
	h.watch = watch{started: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.done = cancel, make(chan struct{})
	subject, done := h.subject, h.done
	go func() {
		defer close(done)
		if err := subject.Run(ctx); !errors.Is(err, context.Canceled) {
			h.fail("Run: %v", err)
		}
	}()
}

func (h *history) stop() {
	h.cancel()
	<-h.done
}

// logged is called with each line of the exporter's log, which shows when a refresh
// ends.
func (h *history) logged(fields ...any) error {
	var msg string
	var took time.Duration
	var failed error
	for i := 0; i+1 < len(fields); i += 2 {
		switch fields[i] {
		case "msg":
			msg, _ = fields[i+1].(string)
		case "duration":
			took, _ = fields[i+1].(time.Duration)
		case "err":
			failed, _ = fields[i+1].(error)
		}
	}
	if h.print != nil {
		h.print(append([]any{time.Now().Format("15:04:05.000")}, fields...)...)
	}
	if msg == "refresh ended" {
		h.refreshed(time.Now().Add(-took), failed)
	}
	return nil
}

// now is our machine's clock.
func (h *history) now() time.Time {
	if h.ahead == 0 {
		return time.Now()
	}
	return time.Now().Add(h.ahead)
}

// populate adds the tokens that exist at the start, none from the last minutes.
func (h *history) populate() {
	rng := rand.New(rand.NewPCG(h.seed, 11))
	now := time.Now()
	tokens := make([]*stored, 0, h.tokens)
	for i := range h.tokens {
		at := now.Add(-2*time.Minute - time.Duration(float64(h.span)*(1-float64(i+1)/float64(h.tokens+1)))).Truncate(time.Millisecond)
		t := h.token(rng, at, 0)
		t.finished = at.Add(time.Duration(rng.Int64N(int64(now.Sub(at)-time.Minute) + 1)))
		if rng.IntN(h.tokens-i) < h.waiting-waitingOf(tokens, now) {
			t.finished = never
		}
		tokens = append(tokens, t)
	}
	h.db.add(tokens...)
}

func waitingOf(tokens []*stored, now time.Time) (n int) {
	for _, t := range tokens {
		if t.finished.After(now) {
			n++
		}
	}
	return n
}

// token returns a token that is written at a time by a host whose clock is wrong by
// off.
func (h *history) token(rng *rand.Rand, at time.Time, off time.Duration) *stored {
	t := &stored{
		visible: at, created: at.Add(off).Truncate(time.Millisecond), finished: never, deleted: never,
		status: pickOf(rng, "COMPLETED", "COMPLETED", "TIMED_OUT"), store: rng.IntN(2),
	}
	for range rng.IntN(3) {
		t.tags = append(t.tags, pickOf(rng, "a", "b", "c", "team:x", "team:y", fmt.Sprint("user:", rng.IntN(20))))
	}
	if rng.IntN(2) == 0 {
		t.timeout = t.created.Add(time.Duration(rng.IntN(7200)) * time.Second)
	}
	if h.newIDs && (!h.mixed || rng.IntN(2) == 0) {
		t.id = h.db.newShapeID(t.created)
	} else {
		t.id = h.db.newID(t.created)
	}
	return t
}

// host draws how wrong the clock of a token's host is.
func (h *history) host(rng *rand.Rand) time.Duration {
	if len(h.skews) > 0 && rng.IntN(3) == 0 {
		return pickOf(rng, h.skews...)
	}
	if h.skew == 0 {
		return 0
	}
	return time.Duration(rng.Int64N(int64(2*h.skew))) - h.skew
}

// acts has the actions of steps by kind.
var acts = map[string]func(*history, step){
	"sleep":  func(_ *history, s step) { time.Sleep(s.d) },
	"create": func(h *history, s step) { h.create(s, false) },
	"quick":  func(h *history, s step) { h.create(s, true) },
	"finish": (*history).finish,
	"quiet":  func(h *history, _ step) { h.quiet() },
}

// create creates n tokens over a time. Quick ones finish at once; the others soon,
// after a while or never.
func (h *history) create(s step, quick bool) {
	rng := rand.New(rand.NewPCG(s.seed, 0))
	now := time.Now()
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	tokens := make([]*stored, 0, s.n)
	for range s.n {
		at := now.Add(time.Duration(rng.Int64N(int64(s.d) + 1)))
		t := h.token(rng, at, h.host(rng))
		switch {
		case quick:
			t.finished = at.Add(time.Duration(rng.Int64N(int64(time.Second))))
		case rng.IntN(3) == 0:
			t.finished = at.Add(time.Duration(rng.Int64N(int64(4*s.d) + 1)))
		case rng.IntN(2) == 0 && !t.timeout.IsZero():
			t.finished, t.status = t.timeout.Add(time.Duration(rng.Int64N(int64(time.Second)))), "TIMED_OUT"
		}
		if t.finished.Before(t.visible) {
			t.finished = t.visible
		}
		tokens = append(tokens, t)
	}
	h.db.add(tokens...)
}

// finish finishes a share of the WAITING tokens within a time.
func (h *history) finish(s step) {
	rng := rand.New(rand.NewPCG(s.seed, 0))
	now := time.Now()
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	for _, t := range h.db.rows {
		if t.statusAt(now) == "WAITING" && rng.Float64() < s.share {
			t.finished = now.Add(time.Duration(rng.Int64N(int64(s.d) + 1)))
		}
	}
}

// quiet lets so much time pass without events that all numbers must be right, and
// compares them. Tokens that were about to finish finish later.
func (h *history) quiet() {
	now := time.Now()
	pause := 30*time.Second + 2*h.interval + 5*time.Second + h.allowed.settle(h.scenario)
	h.db.mu.Lock()
	for i := range h.db.mishaps {
		if m := &h.db.mishaps[i]; m.kind != "short" && m.until.After(now) {
			m.until = now
		}
	}
	h.db.rows = slices.DeleteFunc(h.db.rows, func(t *stored) bool { return t.visible.After(now) })
	for _, t := range h.db.rows {
		for _, at := range []*time.Time{&t.finished, &t.deleted} {
			if at.After(now) && at.Before(never) {
				*at = at.Add(pause + time.Millisecond)
			}
		}
	}
	h.db.mu.Unlock()
	for end := now.Add(pause); time.Now().Before(end) && h.problem == ""; {
		time.Sleep(min(h.interval, time.Until(end)))
	}
	synctest.Wait()
	if h.problem == "" {
		h.checkExactly()
	}
}

// smaller reduces a scenario that fails as far as it still fails.
func smaller(t *testing.T, s *scenario, problem string) (*scenario, string) {
	began := time.Now()
	attempt := func(change func(*scenario)) bool {
		if time.Since(began) > 20*time.Second {
			return false
		}
		other := *s
		other.steps = slices.Clone(s.steps)
		change(&other)
		p := play(t, &other, nil)
		if p != "" {
			s, problem = &other, p
		}
		return p != ""
	}
	for chunk := len(s.steps) / 2; chunk > 0; chunk /= 2 {
		for i := 0; i+chunk <= len(s.steps); {
			if !attempt(func(o *scenario) { o.steps = slices.Delete(o.steps, i, i+chunk) }) {
				i += chunk
			}
		}
	}
	for _, change := range []func(*scenario){
		func(o *scenario) { o.tokens, o.waiting = 0, 0 },
		func(o *scenario) { o.tokens, o.waiting = min(o.tokens, 20), min(o.waiting, 5) },
		func(o *scenario) { o.waiting = 0 },
		func(o *scenario) { o.lag = 0 },
		func(o *scenario) { o.skew = 0 },
		func(o *scenario) { o.jitter = 0 },
		func(o *scenario) { o.concurrency = 1 },
		func(o *scenario) { o.period, o.waitingWithin = 0, false },
		func(o *scenario) { o.waitingWithin = false },
		func(o *scenario) { o.tags = index.TagRules{} },
		func(o *scenario) { o.production = 0 },
		func(o *scenario) { o.share = 0 },
	} {
		attempt(change)
	}
	for i := range s.steps {
		for smaller := true; smaller && s.steps[i].n > 1; {
			smaller = attempt(func(o *scenario) { o.steps[i].n /= 2 })
		}
		for smaller := true; smaller && s.steps[i].d > time.Second; {
			smaller = attempt(func(o *scenario) { o.steps[i].d /= 2 })
		}
	}
	return s, problem
}

// TestRandomHistories compares all numbers after every refresh with a random service:
// gauges within the bounds from the documented lag of 30 s, counters with each token
// counted once, and everything exactly after a quiet time. To replay a history that
// fails, use -seed=N -histories=1 with the same -perturb.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	kinds := []string{*perturb}
	if *perturb == "each" {
		kinds = append([]string{"", "none"}, slices.Sorted(maps.Keys(perturbationsByName))...)
	}
	for _, kind := range kinds {
		name := kind
		if name == "" {
			name = "drawn"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tryHistories(t, kind)
		})
	}
}

// TestHistoriesThatFailed replays histories that once found a fault.
func TestHistoriesThatFailed(t *testing.T) {
	for _, found := range []struct {
		seed  uint64
		kind  string
		steps int // How many it takes to fail; zero: all.
	}{
		{3017, "new ids", 0},
		{1066, "skew", 0},
		{3016, "disorder", 0},
		{40021, "empty pages", 0},
		{200396, "clock behind", 0},
		{2000115, "lag", 0},                    // A piece had the createdAt of another piece's token.
		{2000072, "lag", 0},                    // A second look-up waited, while the token counted as WAITING.
		{1002151, "bulk,latency", 0},           // The last look-up was not shown until the next round.
		{2000248, "outages", 0},                // The window moved past tokens created in an outage.
		{1006147, "restarts,dated ahead", 0},   // Tokens that had finished before the start counted.
		{1004884, "deletions,dated ahead", 0},  // Deleted tokens dated ahead were kept.
		{2000419, "dated ahead", 0},            // No tokens for a while: the place where they appear was not watched.
		{3010662, "outages", 0},                // A refresh ended between two pages of new WAITING tokens.
		{3010319, "dated ahead", 0},            // A watched place was idle in an environment without new tokens.
		{5203260, "dated ahead", 26},           // Tokens dated ahead, but not as far as others, were not looked for.
		{117, "dates", 0},                      // Tokens counted as late, since a gateway's clock was ahead.
		{709, "cut pages", 0},                  // The end of WAITING was cut off, and believed to have left.
		{5202143, "many waiting,cut pages", 4}, // A page of WAITING was cut off, and the second look, too.
		{57, "no waiting", 0},                  // Pages of WAITING were empty, and believed to be so.
		{20096, "nothing,lag", 0},              // All pages were empty, and a piece of the list believed to be.
		{8001766, "cut pages,disorder", 0},     // A walk without order was cut off, and believed.
		{8001401, "nothing,restarts", 0},       // The service came back between an empty page and what should confirm it.
		{1052, "cut pages", 0},                 // The first listing of WAITING ended with a page that was cut off.
		{2000557, "deletions", 19},             // A token counted as WAITING until a delayed look-up.
		{6000000, "deletions", 0},              // Tokens deleted outside the window were looked up for ever.
	} {
		t.Run(fmt.Sprint(found.kind, " ", found.seed), func(t *testing.T) {
			t.Parallel()
			s := drawScenario(found.seed, perturbationsOf(found.kind, found.seed))
			s.steps = s.steps[:cmp.Or(found.steps, len(s.steps))]
			if problem := play(t, s, nil); problem != "" {
				t.Error(problem)
			}
		})
	}
}

func tryHistories(t *testing.T, kind string) {
	began := time.Now()
	failed := 0
	n := *histories
	for i := range n {
		seed := *firstSeed + uint64(i)
		s := drawScenario(seed, perturbationsOf(kind, seed))
		problem := play(t, s, nil)
		if problem == "" {
			continue
		}
		failed++
		whole := problem
		if !*keepWhole {
			s, problem = smaller(t, s, problem)
		}
		t.Errorf("seed %d (-run TestRandomHistories ./collector/refresh -histories=1 -seed=%d -perturb=%s): %s\nthe smallest history that fails: %s\n%s",
			seed, seed, strings.Join(s.perturbations, ","), whole, problem, s)
		if *printAll {
			play(t, s, func(fields ...any) { _, _ = fmt.Fprintln(os.Stdout, fields...) })
		}
		if failed >= 3 {
			t.Fatalf("%d of %d histories failed, trying no more", failed, i+1)
		}
	}
	t.Logf("%d histories, %.1f ms each", n, float64(time.Since(began).Milliseconds())/float64(n))
}

// perturbationsOf returns the perturbations of a seed.
func perturbationsOf(kind string, seed uint64) []string {
	if kind == "none" {
		return nil
	}
	if kind != "" {
		return strings.Split(kind, ",")
	}
	rng := rand.New(rand.NewPCG(seed, 12))
	names := slices.Sorted(maps.Keys(perturbationsByName))
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:min(len(names), pickOf(rng, 0, 1, 1, 2))]
}
