package simulator

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Population describes a history.
type Population struct {
	Seed uint64
	// Tokens is the number of tokens. Waiting is how many of them are WAITING.
	Tokens, Waiting int
	// Span is the time until now over which they were created, evenly. Zero: 30 days.
	Span time.Duration
	// Odd gives tokens all the unusual forms that were observed.
	Odd bool
	// Tags returns the tags for a token. Nil: usual ones.
	Tags func(rng *rand.Rand) []string
}

// Rates describe an environment whose tokens change.
type Rates struct {
	Seed uint64
	// PerSecond is the average number of tokens created per second.
	PerSecond float64
	// MeanWait is the average time that people take to complete a token.
	MeanWait time.Duration
}

// live creates tokens up to the time of each request.
type live struct {
	rates Rates
	rng   *rand.Rand
	next  time.Time
}

// Populate adds a history that ends now.
func (e *Environment) Populate(p Population) {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	rng := rand.New(rand.NewPCG(p.Seed, 2))
	if p.Span == 0 {
		p.Span = 30 * 24 * time.Hour
	}
	if p.Tags == nil {
		p.Tags = usualTags
	}
	now := e.sim.now()
	left := p.Waiting
	for i := range p.Tokens {
		at := now.Add(-time.Duration(float64(p.Span) * (1 - float64(i+1)/float64(p.Tokens+1))))
		t := Token{CreatedAt: at, Tags: p.Tags(rng), IdempotencyKey: fmt.Sprintf("idem-%d", rng.Uint32())}
		// Spread the WAITING tokens evenly at random over the whole span.
		waits := rng.IntN(p.Tokens-i) < left
		if waits {
			left--
		}
		outcome(rng, &t, now, waits)
		if p.Odd {
			odd(rng, &t, i, now)
		}
		e.add(t)
	}
}

// outcome sets the current state of a token that was created in the past.
func outcome(rng *rand.Rand, t *Token, now time.Time, waits bool) {
	age := now.Sub(t.CreatedAt)
	switch {
	case waits:
		t.Status = waiting
		switch rng.IntN(10) {
		case 0: // It has no timeout.
		case 1:
			t.TimeoutAt = t.CreatedAt.Add(age / 2) // Overdue: the job that times it out was lost.
		default:
			t.TimeoutAt = now.Add(time.Duration(rng.Int64N(int64(3 * time.Hour))))
		}
	case rng.IntN(5) == 0:
		t.Status = timedOut
		t.TimeoutAt = t.CreatedAt.Add(min(age*9/10, 10*time.Minute))
		t.CompletedAt = t.TimeoutAt.Add(min(age/20, 300*time.Millisecond))
	default:
		t.Status = completed
		t.TimeoutAt = t.CreatedAt.Add(14 * 24 * time.Hour)
		t.CompletedAt = t.CreatedAt.Add(min(age*9/10, humanTime(rng, 20*time.Minute)))
		t.Output = `{"approved":true}`
	}
}

// humanTime returns a random time with the given mean: mostly short, sometimes very long.
func humanTime(rng *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(float64(mean) * math.Exp(1.2*rng.NormFloat64()-0.72))
}

func usualTags(rng *rand.Rand) []string {
	tags := []string{"team:" + pick(rng, "payments", "onboarding", "legal", "support", "growth")}
	if rng.IntN(3) > 0 {
		tags = append(tags, "approval")
	}
	if rng.IntN(4) == 0 {
		tags = append(tags, fmt.Sprintf("user:%d", 1000+rng.IntN(300)))
	}
	return tags
}

func pick(rng *rand.Rand, from ...string) string { return from[rng.IntN(len(from))] }

// odd gives the i-th token one of the unusual forms that were observed.
func odd(rng *rand.Rand, t *Token, i int, now time.Time) {
	switch i % 16 {
	case 0:
		t.Tags = nil
	case 1:
		t.Tags = nil
		for n := range 10 {
			t.Tags = append(t.Tags, fmt.Sprintf("t%d", n))
		}
	case 2:
		t.Tags = []string{"a,b", `quote"d`, "new\nline", "日本語", "🙂", `back\slash`}
	case 3:
		t.Tags = []string{"", "twice", "twice"}
	case 4:
		t.TimeoutAt = time.Time{}
	case 5:
		if t.Status == completed {
			t.FinishedAt, t.CompletedAt = t.CompletedAt, time.Time{}
		}
	case 6:
		if t.Status == timedOut {
			t.TimeoutAt = t.CompletedAt.Add(time.Hour)
		}
	case 7:
		if i%160 == 7 {
			t.ID = fmt.Sprintf("%szx%019d", prefix, rng.Uint64()%1e18)
		}
	case 8:
		if i%160 == 8 {
			t.ID = fmt.Sprintf("%s06h0%022d", prefix, i)
		}
	case 9:
		t.Tags = []string{fmt.Sprintf("user:%d", i)}
	case 10:
		if t.Status == waiting {
			t.TimeoutAt = now.Add(-time.Minute)
		}
	}
}

// Live lets tokens change from now on: they are created, completed, timed out, and
// sometimes abandoned.
func (e *Environment) Live(r Rates) {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	e.live = &live{rates: r, rng: rand.New(rand.NewPCG(r.Seed, 3)), next: e.sim.now()}
}

// advance adds the tokens created until now. The caller holds s.mu.
func (e *Environment) advance(now time.Time) {
	l := e.live
	if l == nil {
		return
	}
	for !l.next.After(now) {
		t := Token{CreatedAt: l.next, VisibleAt: l.next, Tags: usualTags(l.rng)}
		if skew := int64(e.opts.Skew); skew > 0 {
			t.CreatedAt = t.CreatedAt.Add(time.Duration(l.rng.Int64N(2*skew+1) - skew))
		}
		l.plan(&t)
		e.add(t)
		l.next = l.next.Add(time.Duration(l.rng.ExpFloat64() / l.rates.PerSecond * float64(time.Second)))
	}
}

// plan sets a new token's outcome.
func (l *live) plan(t *Token) {
	t.Status = completed
	done := t.CreatedAt.Add(humanTime(l.rng, l.rates.MeanWait))
	switch n := l.rng.IntN(1000); {
	case n < 2: // Its run was cancelled: an orphan without a timeout.
		t.Status = waiting
		return
	case n < 4: // The job that should time it out is lost.
		t.Status = waiting
		t.TimeoutAt = t.CreatedAt.Add(2 * l.rates.MeanWait)
		return
	case n < 80:
	default:
		t.TimeoutAt = t.CreatedAt.Add(2 * l.rates.MeanWait)
	}
	if !t.TimeoutAt.IsZero() && t.TimeoutAt.Before(done) {
		t.Status = timedOut
		done = t.TimeoutAt.Add(time.Duration(l.rng.Int64N(int64(time.Second))))
	}
	t.CompletedAt = done
}
