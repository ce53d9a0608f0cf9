package collector

import (
	"github.com/prometheus/client_golang/prometheus"
)

// descs are all metrics that come from the picture. What a refresh does, as
// opposed to what it found, is described in package refresh.
type descs struct {
	tokens, nearTimeout, stuck, overdue, withoutTimeout *prometheus.Desc
	late, ignored, oldest, nextTimeout, created         *prometheus.Desc

	tagged, taggedNearTimeout, taggedStuck, taggedOverdue *prometheus.Desc
	taggedLate, taggedOldest, taggedCreated               *prometheus.Desc

	loaded, unresolved, corrections, folded, period, listed *prometheus.Desc
}

const (
	namespace = "triggerdev_waitpoint_"
	// The exporter guidelines ask for this with cached metrics.
	cached = " The picture comes from a background refresh, not from this scrape."
	atNow  = " Worked out at the scrape, from a picture that comes from a background refresh."
)

func newDescs(labels prometheus.Labels) *descs {
	d := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+name, help, variable, labels)
	}
	return &descs{
		tokens:            d("tokens", "Waitpoint tokens by status."+cached, "status"),
		tagged:            d("tagged_tokens", "Waitpoint tokens by tag and status; a token counts once under each of its tags."+cached, "tag", "status"),
		nearTimeout:       d("tokens_near_timeout", "WAITING tokens that time out within the given time."+atNow, "within"),
		taggedNearTimeout: d("tagged_tokens_near_timeout", "WAITING tokens that time out within the given time, by tag."+atNow, "tag", "within"),
		stuck:             d("tokens_stuck", "WAITING tokens created longer than the given time ago."+atNow, "after"),
		taggedStuck:       d("tagged_tokens_stuck", "WAITING tokens created longer than the given time ago, by tag."+atNow, "tag", "after"),
		overdue:           d("tokens_overdue", "WAITING tokens whose timeout is past: the platform is late to time them out."+atNow),
		withoutTimeout:    d("tokens_without_timeout", "WAITING tokens that have no timeout and can wait for ever."+cached),
		taggedOverdue:     d("tagged_tokens_overdue", "WAITING tokens whose timeout is past, by tag."+atNow, "tag"),
		late:              d("tokens_late", "WAITING tokens that have waited for longer than is expected of their kind."+atNow),
		taggedLate:        d("tagged_tokens_late", "WAITING tokens that have waited for longer than is expected of their kind, by tag."+atNow, "tag"),
		ignored:           d("tokens_ignored", "Tokens that a required or ignored tag leaves out of all other numbers, by status."+cached, "status"),
		taggedOldest:      d("tagged_oldest_waiting_timestamp_seconds", "When the oldest WAITING token was created, in Unix seconds, by tag."+cached, "tag"),
		taggedCreated:     d("tagged_tokens_created_total", "Tokens created since the newest tokens were first known, by tag."+cached, "tag"),
		oldest:            d("oldest_waiting_timestamp_seconds", "When the oldest WAITING token was created, in Unix seconds."+cached),
		nextTimeout:       d("next_timeout_timestamp_seconds", "The soonest timeout of a WAITING token that is not past, in Unix seconds."+atNow),
		created:           d("tokens_created_total", "Tokens created since the newest tokens were first known."+cached),

		listed:      d("waiting_listed_timestamp_seconds", "When the WAITING token that was confirmed least recently was last listed by a background refresh, in Unix seconds."),
		loaded:      d("history_loaded", "Whether the window's finished tokens have all been listed by background refreshes."),
		unresolved:  d("tokens_unresolved", "Tokens known to have left WAITING whose outcome is still to be looked up by a background refresh."),
		corrections: d("verify_corrections_total", "Tokens that the background verify walk found other than the picture had them."),
		folded:      d("tags_folded", "Distinct tags now counted under tag=\"__other__\"."+cached),
		period:      d("period_seconds", "The window in which finished tokens count, 0 for all."),
	}
}

func (d *descs) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		d.tokens, d.tagged, d.nearTimeout, d.taggedNearTimeout, d.stuck, d.taggedStuck, d.overdue,
		d.withoutTimeout, d.late, d.ignored, d.oldest, d.nextTimeout, d.created,
		d.taggedOverdue, d.taggedLate, d.taggedOldest, d.taggedCreated,
		d.loaded, d.unresolved, d.corrections, d.folded, d.period, d.listed,
	}
}
