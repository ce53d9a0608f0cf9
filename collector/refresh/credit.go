package refresh

import "time"

// leastCredit is what every environment can save up at least, however small its
// part: a refresh of a quiet environment takes no more.
const leastCredit = 4

// A ledger holds what refreshes may still spend. Each account gains an equal part
// of the share of what the limit refills, up to that of a refresh interval; what
// it has no room for goes into a pot that all may draw from. So the long-run use
// of all accounts together is the share, and none can starve another. It is not
// safe for concurrent use.
type ledger struct {
	accounts []*account
	pot      float64
	at       time.Time // Up to when credit has been gained.
	began    bool      // The rate has been known.
}

// An account is one environment's.
type account struct {
	share    float64
	interval time.Duration
	credit   float64
}

// share returns the largest of all accounts: environments whose settings differ
// are still one user of one limit.
func (g *ledger) share() float64 {
	share := 0.
	for _, a := range g.accounts {
		share = max(share, a.share)
	}
	return share
}

// gains returns what an account gains in a second.
func (g *ledger) gains(rate float64) float64 {
	return g.share() * rate / float64(len(g.accounts))
}

func (g *ledger) room(a *account, rate float64) float64 {
	return max(g.gains(rate)*a.interval.Seconds(), leastCredit)
}

// gain brings the accounts up to date, at so many requests refilled a second.
func (g *ledger) gain(rate float64, now time.Time) {
	since := now.Sub(g.at).Seconds()
	g.at = now
	switch {
	case rate == 0:
		return
	case !g.began:
		// All there is room for: the first refreshes are not to wait.
		g.began, since = true, longestPause.Seconds()
	case since <= 0:
		return
	}
	room := 0.
	for _, a := range g.accounts {
		most := g.room(a, rate)
		a.credit += g.gains(rate) * since
		if over := a.credit - most; over > 0 {
			a.credit = most
			g.pot += over
		}
		room += most - a.credit
	}
	g.pot = min(g.pot, room)
}

// spend takes one request from the account, and from the pot what is missing. It
// reports whether there was enough; if not, wait is when to ask again.
func (g *ledger) spend(a *account, rate float64) (ok bool, wait time.Duration) {
	if have := a.credit + g.pot; have < 1 {
		return false, time.Duration((1-have)/g.gains(rate)*float64(time.Second)) + time.Millisecond
	}
	missing := max(1-a.credit, 0)
	a.credit -= 1 - missing
	g.pot -= missing
	return true, 0
}
