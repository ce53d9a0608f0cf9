package collector

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// descs are the metrics that come from a snapshot. Metrics about refreshes and API
// requests are in package refresh.
type descs struct {
	total, tagged                                                *groupDescs
	withoutTimeout, ignored, nextTimeout, created, taggedCreated *prometheus.Desc
	loaded, unresolved, corrections, folded, period, listed      *prometheus.Desc

	all []*prometheus.Desc
}

// groupDescs are the metrics of a group of tokens: all tokens, or those of a tag.
type groupDescs struct{ tokens, near, stuck, overdue, late, oldest *prometheus.Desc }

const (
	namespace = "triggerdev_waitpoint_"
	// Prometheus' guidelines for exporters: the help of a cached metric says that it is
	// cached.
	cached = " From the snapshot of the last background refresh."
	atNow  = " Computed at the scrape from the snapshot of the last background refresh."
)

func newDescs(labels prometheus.Labels) *descs {
	var all []*prometheus.Desc
	d := func(name, help string, variable ...string) *prometheus.Desc {
		desc := prometheus.NewDesc(namespace+name, help, variable, labels)
		all = append(all, desc)
		return desc
	}
	// The metrics of all tokens, and those by tag, with the help that differs.
	group := func(prefix, tokens, overdue, by string, tag ...string) *groupDescs {
		with := func(label string) []string { return append(slices.Clip(tag), label) }
		return &groupDescs{
			tokens: d(prefix+"tokens", tokens+cached, with("status")...),
			near: d(prefix+"tokens_near_timeout",
				"WAITING tokens that time out within the given time"+by+"."+atNow, with("within")...),
			stuck: d(prefix+"tokens_stuck",
				"WAITING tokens created longer than the given time ago"+by+"."+atNow, with("after")...),
			overdue: d(prefix+"tokens_overdue", "WAITING tokens whose timeout has passed"+overdue+atNow, tag...),
			late: d(prefix+"tokens_late",
				"WAITING tokens that have waited longer than --tokens.expected-wait allows"+by+"."+atNow, tag...),
			oldest: d(prefix+"oldest_waiting_timestamp_seconds",
				"When the oldest WAITING token was created, in Unix seconds"+by+"."+cached, tag...),
		}
	}
	out := &descs{
		total: group("", "Waitpoint tokens by status.", ": the service is late to time them out.", ""),
		tagged: group("tagged_", "Waitpoint tokens by tag and status; a token counts once under each of its tags.",
			", by tag.", ", by tag", "tag"),

		withoutTimeout: d("tokens_without_timeout",
			"WAITING tokens without a timeout, which may wait for ever."+cached),
		ignored: d("tokens_ignored",
			"Tokens that --tokens.require-tag or --tokens.ignore-tag leave out elsewhere, by status."+cached, "status"),
		nextTimeout: d("next_timeout_timestamp_seconds",
			"The next timeout of a WAITING token, in Unix seconds."+atNow),
		created: d("tokens_created_total",
			"Tokens created since the newest tokens were first known."+cached),
		taggedCreated: d("tagged_tokens_created_total",
			"Tokens created since the newest tokens were first known, by tag."+cached, "tag"),
		listed: d("waiting_listed_timestamp_seconds",
			"When a background refresh last listed the least recently listed WAITING token, in Unix seconds."),
		loaded: d("history_loaded",
			"Whether background refreshes have listed all finished tokens of the window."),
		unresolved: d("tokens_unresolved",
			"Tokens that left WAITING and whose outcome a background refresh has yet to look up."),
		corrections: d("verify_corrections_total",
			"Tokens whose state was corrected by background verification."),
		folded: d("tags_folded",
			"Distinct tags now counted under tag=\"__other__\"."+cached),
		period: d("period_seconds",
			"The window in which finished tokens count, 0 for no window."),
	}
	out.all = all
	return out
}
