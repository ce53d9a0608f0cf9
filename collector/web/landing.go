package web

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/refresh"
)

// landingView is the data of the landing page.
type landingView struct {
	page
	Options

	HealthyPath, ReadyPath string
	Environments           []environmentView
	Expects                bool // An environment has rules for how long tokens may wait.
}

// Columns are the table's headings.
func (v landingView) Columns() []string {
	heads := []string{
		"Environment", "State", "WAITING", "Late", "Stuck", "Overdue", "Oldest", "Snapshot",
		"History", "Rate limit",
	}
	if !v.Expects {
		heads = slices.Delete(heads, 3, 4)
	}
	return heads
}

func (s *server) landing(w http.ResponseWriter, _ *http.Request) {
	v := landingView{page: page{Wide: true}, Options: s.opts, HealthyPath: HealthyPath, ReadyPath: ReadyPath}
	now := s.opts.Now()
	for _, e := range s.opts.Environments() {
		view := environmentView{look(&e, now), e.Source.State()}
		v.Environments = append(v.Environments, view)
		v.Expects = v.Expects || view.Expects()
	}
	s.write(w, http.StatusOK, "landing", v)
}

// environmentView is an environment at this moment, for the template.
type environmentView struct {
	snapshot

	State refresh.State
}

// Numbers of the snapshot, which must be known.
func (v environmentView) Waiting() int { return v.Total.Count(0, v.Now) }
func (v environmentView) Late() int    { return v.Total.Late(v.Now) }
func (v environmentView) Overdue() int { return v.Total.Overdue(v.Now) }

// StuckCount is the number of tokens stuck for the longest threshold.
func (v environmentView) StuckCount() int {
	d, err := model.ParseDuration(v.Stuck)
	if err != nil {
		return 0 // The configuration was checked.
	}
	return v.Total.Stuck(time.Duration(d), v.Now)
}

// Oldest is how many seconds the oldest token has waited, nil without WAITING tokens.
func (v environmentView) Oldest() *float64 {
	if t, ok := v.Total.Oldest(v.Now); ok {
		return new(seconds(t, v.Now))
	}
	return nil
}

// Tokens is the number of known tokens.
func (v environmentView) Tokens() int {
	n := 0
	for i := range v.Statuses {
		n += v.Total.Count(i, v.Now)
	}
	return n
}

// Used is how much of the rate limit all its users together have used, in percent; nil
// while it is unknown.
func (v environmentView) Used() *int {
	if u := v.State.Usage; u.Limit > 0 {
		return new(100 * max(0, u.Limit-u.Remaining) / u.Limit)
	}
	return nil
}

// Link returns a link to the environment's tokens, filtered by a parameter and its
// value if given. It names the project even if it is empty: another environment may have
// the same name.
func (v environmentView) Link(parameter ...string) string {
	values := url.Values{"environment": {v.Name}, "project": {v.Project}}
	if len(parameter) == 2 {
		values.Set(parameter[0], parameter[1])
	}
	return pageLink(values)
}

// Advice returns what the user can do about an error that does not say so itself.
func (v environmentView) Advice() string {
	if v.State.Advised {
		return ""
	}
	return map[client.Reason]string{
		client.ReasonAuth: "Check the secret key, and the preview branch if it is one: the key may be " +
			"wrong, restricted or revoked.",
		client.ReasonRateLimited: "Wait: others use up the environment's rate limit. " +
			"Refreshes continue once it refills.",
		client.ReasonTimeout: "Check the network and any proxy; " +
			"raise --refresh.timeout if the service is slow.",
		client.ReasonNetwork: "Check the network and any proxy, and that --trigger.api-url is right.",
		client.ReasonServer: "Trigger.dev has a fault, or the project is on the old engine. Refreshes go " +
			"on by themselves once it answers.",
		client.ReasonInvalidResponse: "Something other than the API answers: check --trigger.api-url and any " +
			"proxy. If there are too many tokens, set --tokens.period.",
		client.ReasonBadRequest: "Check --trigger.api-url, and look for a newer version of the exporter.",
	}[v.State.Reason]
}
