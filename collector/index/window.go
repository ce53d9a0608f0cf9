package index

import "time"

// The window: finished tokens count only while createdAt >= now - Options.Period.

// expire drops the finished tokens that the window has left behind at the given time.
func (x *Index) expire(now time.Time) {
	if x.opts.Period == 0 {
		return
	}
	x.cutoff = max(x.cutoff, ceilMilli(now.Add(-x.opts.Period)))
	for e, ok := x.finished.Min(); ok && e.created < x.cutoff; e, ok = x.finished.Min() {
		x.drop(e)
		if x.minute(now)-e.seen < uint16(memory/time.Minute) {
			x.past[e.identity] = past{e.status, now.Add(memory)}
		}
	}
	if !x.opts.WaitingWithinPeriod {
		return
	}
	x.waiting.Scan(func(_ string, h *held) bool {
		if !h.outside && h.token.created < x.cutoff {
			x.sets.remove(h.set, waitingStatus)
			h.outside = true
		}
		return true
	})
}

func (x *Index) inWindow(created int64, now time.Time) bool {
	return x.opts.Period == 0 || created >= max(x.cutoff, ceilMilli(now.Add(-x.opts.Period)))
}

// ClockSetBack reports whether the window at the given time begins more than Lag before
// where it has begun already, so that tokens that were let go of are in it again:
// the clock has been set back. Short of that the window waits for the clock.
func (x *Index) ClockSetBack(now time.Time) bool { return x.opts.clockSetBack(x.cutoff, now) }

func (o Options) clockSetBack(cutoff int64, now time.Time) bool {
	return o.Period > 0 && cutoff != none && ceilMilli(now.Add(o.Lag-o.Period)) < cutoff
}

// Rewind moves the window back to where it begins by a clock that was set back. The
// history has to be listed again.
func (x *Index) Rewind(now time.Time) {
	x.cutoff = ceilMilli(now.Add(-x.opts.Period))
	x.Unload()
	x.waiting.Scan(func(_ string, h *held) bool {
		if h.outside && h.token.created >= x.cutoff {
			h.outside = false
			_, h.set = x.setOf(h.token.Tags)
			x.sets.add(h.set, waitingStatus)
		}
		return true
	})
}
