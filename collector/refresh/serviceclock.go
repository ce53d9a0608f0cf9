package refresh

import (
	"slices"
	"time"
)

// serviceClock tells the service's time from the Date of its answers. Gateways set it, and
// the clock of one of them may be ahead: then tokens that may still appear would pass for
// known. So a Date that is far ahead of the others of late is not believed.
type serviceClock struct {
	base    time.Time // When the first answer came, and the origin of offsets.
	offsets [8]time.Duration
	answers int
}

// aheadOfOthers is how far ahead a Date may be. Answers take a while, and Dates have a
// resolution of a second.
const aheadOfOthers = time.Minute

// believe returns the service's time for the Date of an answer that came at the given time.
// It is early rather than late.
func (c *serviceClock) believe(date, came time.Time) time.Time {
	if date.IsZero() {
		return date
	}
	if c.answers == 0 {
		c.base = came
	}
	elapsed := came.Sub(c.base) // Whatever our own clock is set to meanwhile.
	c.offsets[c.answers%len(c.offsets)] = date.Sub(c.base) - elapsed
	c.answers++
	if likely := c.earliest(came); date.Sub(likely) > aheadOfOthers {
		return likely
	}
	return date
}

// earliest and latest return what the service's time is now at least and at most, by its
// last answers.
func (c *serviceClock) earliest(now time.Time) time.Time { return c.at(now, slices.Min) }
func (c *serviceClock) latest(now time.Time) time.Time   { return c.at(now, slices.Max) }

func (c *serviceClock) at(now time.Time, of func([]time.Duration) time.Duration) time.Time {
	if c.answers == 0 {
		return now
	}
	return c.base.Round(0).Add(now.Sub(c.base) + of(c.offsets[:min(c.answers, len(c.offsets))]))
}
