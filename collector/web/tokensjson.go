package web

import "time"

// tokensJSON is the answer in JSON. Absent values are left out; fields may be added.
type tokensJSON struct {
	Now stamp `json:"now"`
	// Complete is false if the tokens of any environment are unknown or stale.
	Complete     bool              `json:"complete"`
	Environments []environmentJSON `json:"environments"`
	// Total is the number of tokens on all pages, Offset the number on the previous
	// pages.
	Total  int         `json:"total"`
	Offset int         `json:"offset"`
	Tokens []tokenJSON `json:"tokens"`
	// Next and Previous are relative to the request's URL.
	Next     string `json:"next,omitempty"`
	Previous string `json:"previous,omitempty"`
}

type environmentJSON struct {
	Environment string `json:"environment"`
	Project     string `json:"project,omitempty"`
	AsOf        *stamp `json:"asOf,omitempty"`
	Known       bool   `json:"known"`
	Stale       bool   `json:"stale"`
}

type tokenJSON struct {
	Environment     string   `json:"environment"`
	Project         string   `json:"project,omitempty"`
	ID              string   `json:"id"`
	Tags            []string `json:"tags"`
	CreatedAt       stamp    `json:"createdAt"`
	TimeoutAt       *stamp   `json:"timeoutAt,omitempty"`
	AgeSeconds      float64  `json:"ageSeconds"`
	TimeLeftSeconds *float64 `json:"timeLeftSeconds,omitempty"` // Negative once overdue.
	// ExpectedWaitSeconds and Late are present if a rule says how long the token may
	// wait.
	ExpectedWaitSeconds *float64 `json:"expectedWaitSeconds,omitempty"`
	Late                *bool    `json:"late,omitempty"`
	DashboardURL        string   `json:"dashboardUrl,omitempty"`
}

type errorJSON struct {
	Error     string `json:"error"`
	Parameter string `json:"parameter,omitempty"`
}

// A stamp is formatted as the service formats times: in UTC, with milliseconds. No time
// is "".
type stamp time.Time

func (s stamp) String() string {
	if time.Time(s).IsZero() {
		return ""
	}
	return time.Time(s).UTC().Format("2006-01-02T15:04:05.000Z")
}

// MarshalText implements encoding.TextMarshaler.
func (s stamp) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func newTokensJSON(l *listing, q *query, now time.Time) tokensJSON {
	out := tokensJSON{
		Now: stamp(now), Complete: true, Environments: []environmentJSON{},
		Total: l.total, Offset: l.earlier, Tokens: make([]tokenJSON, 0, len(l.entries)),
		Next: l.next(q), Previous: l.previous(q),
	}
	for _, p := range l.snapshots {
		e := environmentJSON{Environment: p.Name, Project: p.Project, Known: p.Known, Stale: p.Stale}
		if p.Known {
			e.AsOf = new(stamp(p.At))
		}
		out.Environments = append(out.Environments, e)
		out.Complete = out.Complete && p.Known && !p.Stale
	}
	for _, e := range l.entries {
		t := tokenJSON{
			Environment: e.from.Name, Project: e.from.Project, ID: e.ID,
			Tags:      append([]string{}, e.Tags...), // Never null.
			CreatedAt: stamp(e.CreatedAt), AgeSeconds: e.Age(), DashboardURL: e.Dashboard(),
		}
		if !e.TimeoutAt.IsZero() {
			t.TimeoutAt, t.TimeLeftSeconds = new(stamp(e.TimeoutAt)), new(e.Left())
		}
		if e.ExpectedWait > 0 {
			t.ExpectedWaitSeconds, t.Late = new(e.ExpectedWait.Seconds()), new(e.Late())
		}
		out.Tokens = append(out.Tokens, t)
	}
	return out
}

// seconds returns the time from one moment to another, in milliseconds precision. A
// time.Duration ends at 292 years.
func seconds(from, to time.Time) float64 { return float64(to.UnixMilli()-from.UnixMilli()) / 1000 }
