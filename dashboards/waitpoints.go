package dashboards

const (
	waits       = "triggerdev_waitpoint_wait_duration_seconds"
	taggedWaits = "triggerdev_waitpoint_tagged_wait_duration_seconds"
	tagScope    = `tag=~"$tag"`
	waiting     = `status="WAITING"`
	windowRate  = "$__rate_interval"
	whose       = "{{project}} {{environment}}" // The end of a legend.
	tagOfRow    = "&tag=${__data.fields.tag:percentencode}"
)

// The thresholds of the alerts.
const (
	lateFrom  = 10
	nearFrom  = 20
	lowLimit  = 0.1
	objective = 0.95
)

func mapped(values map[string][2]string) []any {
	options := map[string]any{}
	for value, shown := range values {
		options[value] = map[string]any{"text": shown[0], "color": shown[1]}
	}
	return []any{map[string]any{"type": "value", "options": options}}
}

func byTag(expr string) string    { return each(expr, "tag") }
func sumByTag(expr string) string { return "sum by (tag) (" + byTag(expr) + ")" }

// top returns the ten tags with the largest sums over all environments.
func top(expr string) string { return "topk(10, " + sumByTag(expr) + ")" }

// limitLeft returns the share of the rate limit that is left.
func limitLeft() string {
	return sel("triggerdev_api_rate_limit_remaining") + " / " + sel("triggerdev_api_rate_limit")
}

// limitColumn is the share of the rate limit that is left, by environment.
func limitColumn() column {
	return column{
		name: "limit left", expr: least(limitLeft()),
		unit: "percentunit", thresholds: steps(neutral, from(0, "red"), from(lowLimit, "green")),
	}
}

// ageColumn is the age of the snapshot.
func ageColumn() column {
	return column{
		name: "age", expr: "time() - " + each(metric("last_refresh_timestamp_seconds")),
		unit: "s", thresholds: steps(neutral, from(0, "green"), from(300, "orange"), from(600, "red")),
	}
}

// notVisible counts the environments without numbers, and those that disappeared within
// the last day.
func notVisible() query {
	up := metric("up")
	return query{"count(" + each("last_over_time("+up+"[1d])") + " unless " +
		each(metric("tokens", waiting)) + ") or 0 * count(" + up + ")", "environments"}
}

func alertsFiring(b *board) {
	const by = "max by (alertname, project, environment, tag) "
	severity := func(name string) string { return by + "(" + firing(`severity="`+name+`"`) + ")" }
	b.table(10, 9, spec{
		title: "Firing alerts", none: "none, provided that the rules are loaded",
		about: "Alerts of the rules in deploy/prometheus, the most severe first. The name links to the runbook, the " +
			"environment to its tokens.",
	}, "severity",
		column{
			name: "severity",
			expr: "3 * " + severity("critical") + " or 2 * " + severity("warning") + " or " + severity("info"),
			mappings: mapped(map[string][2]string{
				"3": {"critical", "red"}, "2": {"warning", "orange"}, "1": {"info", "blue"},
			}),
			width: 90,
		},
		column{
			name: "alert", label: "alertname", width: 260,
			links: []Link{{"What to do", "${exporter:raw}/runbook#:~:text=${__value.raw:percentencode}", true}},
		},
		column{name: "project"},
		column{name: "environment", links: tokens("Its tokens", formPage, "__data.fields.", tagOfRow)},
		column{name: "tag"},
		column{
			name: "since", unit: "dateTimeFromNow",
			expr: "1000 * " + by + "(ALERTS_FOR_STATE{" + alerting + "}) and " + by + "(" + firing() + ")",
		},
	)
}

func environments(b *board) {
	up, seen := metric("up"), each(metric("tokens", waiting))
	state := each(at(up), "external_url")
	gone := each("last_over_time("+up+"[1d])") + " unless " + each(up)
	b.table(24, 6, spec{
		title: "Environments",
		about: "Environments that are not visible first. Numbers link to their tokens, at the exporter that has them.",
	}, "state",
		column{
			name: "state", width: 110,
			mappings: mapped(map[string][2]string{
				"4": {"gone", "red"}, "3": {"not visible", "red"},
				"2": {"refresh failed", "orange"}, "1": {"ok", "green"},
			}),
			expr: "4 + 0 * (" + gone + ") or on (project, environment) (3 + 0 * (" + state +
				" unless on (project, environment) " + seen + "))" + " or on (project, environment) (2 + 0 * (" +
				state + " == 0)) or on (project, environment) (1 + 0 * " + state + ")",
		},
		column{name: "project"},
		column{name: "environment", links: cell("Its tokens", "")},
		column{name: "external_url", hidden: true},
		column{name: "reason"},
		column{
			name: "errors in 15m", thresholds: orangeFrom(1),
			expr: "topk by (project, environment) (1, " +
				each("increase("+metric("refresh_errors_total")+"[15m])", "reason") + " > 0)",
		},
		ageColumn(),
		column{name: "WAITING", expr: seen, links: cell("WAITING", "")},
		column{
			name: "late", expr: each(metric("tokens_late")), thresholds: orangeFrom(lateFrom),
			links: cell("Late", "&late=1"),
		},
		column{
			name: "stuck 1d", expr: each(metric("tokens_stuck", `after="1d"`)),
			links: cell("Stuck for 1d", "&stuck=1d"),
		},
		column{
			name: "overdue", expr: each(metric("tokens_overdue")), thresholds: orangeFrom(1),
			links: cell("Overdue", "&overdue=1"),
		},
		column{
			name: "no timeout", expr: each(metric("tokens_without_timeout")),
			links: cell("Without timeout", "&no_timeout=1"),
		},
		limitColumn(),
	)
}

func tags(b *board) {
	shown := func(expr string) string {
		return `label_replace(label_replace(` + expr +
			`, "shown", "(no tag)", "tag", ""), "shown", "$1", "tag", "(.+)")`
	}
	number := func(name, expr string, t Thresholds, title, filter string) column {
		return column{name: name, expr: shown(expr), thresholds: t, links: cell(title, tagOfRow+filter)}
	}
	b.table(14, 9, spec{
		title: "By team and tag",
		about: "Tokens by tag; a token counts once under each of its tags. __other__ holds the tags beyond " +
			"--tags.limit. Numbers link to their tokens.",
	}, "late",
		column{name: "team or tag", label: "shown", links: cell("Its tokens", tagOfRow), width: 220},
		column{name: "tag", hidden: true},
		column{name: "external_url", hidden: true},
		column{name: "project"},
		column{name: "environment"},
		number("WAITING", each(at(tagged("tokens", waiting)), "tag", "external_url"), Thresholds{}, "WAITING", ""),
		number("late", byTag(tagged("tokens_late")), orangeFrom(1), "Late", "&late=1"),
		number("stuck 1d", byTag(tagged("tokens_stuck", `after="1d"`)), Thresholds{}, "Stuck for 1d", "&stuck=1d"),
		number("overdue", byTag(tagged("tokens_overdue")), orangeFrom(1), "Overdue", "&overdue=1"),
		number("in 5m", byTag(tagged("tokens_near_timeout", `within="5m"`)), orangeFrom(nearFrom),
			"Time out within 5m", "&near_timeout=5m"),
		column{
			name: "oldest", expr: shown("time() - " + least(tagged("oldest_waiting_timestamp_seconds"), "tag")),
			unit: "s", links: cell("The oldest", tagOfRow),
		},
	)
}

// Waitpoints returns the dashboard on tokens. Its first screen shows whether something is
// wrong, whose it is, and which tokens.
func Waitpoints() *Dashboard {
	b := &board{}
	seen := metric("tokens", waiting)
	b.stat(4, 4, spec{
		title: "Not visible", unit: "locale", none: "no exporter",
		about: "Environments without numbers: their snapshot is too old, or they disappeared within the last " +
			"day. Their alerts are silent.",
		thresholds: steps("red", from(0, "green"), from(1, "red")),
	}, notVisible())
	b.stat(4, 4, spec{
		title: "Alerts", unit: "locale", none: "none",
		about:      "Firing alerts by severity.",
		thresholds: steps("green", from(1, "orange")),
	}, query{"count by (severity) (" + firing() + ")", "{{severity}}"})
	// Without a threshold in place of what is expected.
	late, best := sel("waitpoint:late:max5m", `after=""`), "waitpoint:late:min1w{"+recorded+`, after=""}`
	b.stat(4, 4, spec{
		title: "Late", unit: "locale", none: "not set or not visible",
		about: "WAITING for longer than --tokens.expected-wait allows, and how many more than at the best hour " +
			"of the week, which is what the alerts compare.",
		thresholds: orangeFrom(lateFrom),
		links:      all("Late tokens", "&late=1"),
	},
		query{"sum(" + each(late) + " - " + least(best) + ")", "new this week"},
		query{total(late), "all"},
	)
	b.stat(4, 4, spec{
		title: "Overdue", unit: "locale", none: "not visible",
		about: "WAITING although the timeout has passed: Trigger.dev is late to time them out, or did so since the " +
			"last refresh, which the alert allows for.",
		thresholds: orangeFrom(1),
		links:      all("Overdue tokens", "&overdue=1"),
	}, query{total(metric("tokens_overdue")), "overdue"})
	b.stat(4, 4, spec{
		title: "WAITING", unit: "locale", none: "not visible",
		about:      "Tokens that wait.",
		thresholds: steps(neutral, from(0, "blue")),
		links:      all("WAITING tokens", ""),
	}, query{total(seen), "WAITING"})
	b.stat(4, 4, spec{
		title: "Oldest", unit: "s", none: "none or not visible",
		about:      "How long the oldest WAITING token has waited.",
		thresholds: steps(neutral, from(0, "blue")),
		links:      all("The oldest first", ""),
	}, query{"time() - min(" + metric("oldest_waiting_timestamp_seconds") + ")", "oldest"})
	environments(b)
	tags(b)
	alertsFiring(b)

	b.begin("What is coming", "")
	b.curves(8, 8, spec{
		title: "Timeouts coming up", unit: "locale",
		about:      "WAITING tokens that time out within each --tokens.near-timeout. The alert fires above the line.",
		thresholds: steps("green", from(nearFrom, "orange")),
		links:      series("Within ${__field.labels.within}", "&near_timeout=${__field.labels.within:percentencode}"),
	}, query{each(metric("tokens_near_timeout"), "within"), "{{within}} " + whose})
	b.curves(8, 8, spec{
		title: "Until the next timeout", unit: "s",
		about: "Time until the next timeout that has not passed.",
		links: series("What is near its timeout", "&near_timeout=1h"),
	}, query{"clamp_min(" + least(metric("next_timeout_timestamp_seconds")) + " - time(), 0)", whose})
	b.curves(8, 8, spec{
		title: "Late and overdue", unit: "locale",
		about:      "Late tokens, and tokens that Trigger.dev has not timed out.",
		thresholds: steps("green", from(lateFrom, "orange")),
		links:      series("Late", "&late=1"),
	},
		query{each(metric("tokens_late")), "late " + whose},
		query{each(metric("tokens_overdue")), "overdue " + whose},
	)

	b.begin("Flow", "")
	ended := func(function, window, status string) string {
		return "sum(" + finished(function, waits, window, "status", `status="`+status+`"`) + ")"
	}
	b.curves(10, 8, spec{
		title: "Created and finished, a minute", unit: "locale",
		about: "The backlog grows while more tokens are created than finish.",
	},
		query{"60 * " + total(rate(metric("tokens_created_total"))), "created"},
		query{"60 * " + ended("rate", windowRate, "COMPLETED"), "completed"},
		query{"60 * " + ended("rate", windowRate, "TIMED_OUT"), "timed out"},
	)
	b.stat(4, 8, spec{
		title: "In this time range", unit: "locale", none: "not visible",
		about: "Tokens created and finished.",
	},
		query{total("increase(" + metric("tokens_created_total") + "[$__range])"), "created"},
		query{ended("increase", "$__range", "COMPLETED"), "completed"},
		query{ended("increase", "$__range", "TIMED_OUT"), "timed out"},
	)
	b.stat(4, 8, spec{
		title: "Time to clear the backlog", unit: "s", none: "not known",
		about:      "WAITING tokens divided by those that finished in the last hour, if no more are created.",
		thresholds: steps(neutral, from(0, "blue")),
	}, query{total(seen) + " / (sum(" + finished("rate", waits, "1h", "status") + ") > 0)", "at this rate"})
	b.curves(6, 8, spec{
		title: "Backlog", unit: "locale",
		about: "WAITING in each environment.",
		links: series("WAITING", ""),
	}, query{each(seen), whose})

	b.begin("How long they wait", "")
	b.heatmap(10, 9, spec{
		title: "Wait of finished tokens", unit: "locale",
		about: "Finished tokens by how long they waited. Dots are exemplars; look up their token_id at /tokens or in " +
			"Trigger.dev.",
	}, waits)
	completed := `status="COMPLETED"`
	b.curves(8, 9, spec{
		title: "Wait until completed", unit: "s",
		about:      "Quantiles over the last hour.",
		thresholds: steps("green", from(86400, "orange")),
	},
		query{quantile("0.5", waits, "1h", completed), "p50"},
		query{quantile("0.9", waits, "1h", completed), "p90"},
		query{quantile("0.99", waits, "1h", completed), "p99"},
	)
	b.curves(6, 9, spec{
		title: "Not completed within a day", unit: "percentunit",
		about: "Finished tokens that timed out or took longer than a day; the budget is 5%. The slow alert " +
			"fires above the line, the fast one above 72% of an hour.",
		thresholds: steps("green", from(6*(1-objective), "orange")),
	},
		query{each(sel("waitpoint:slo_errors:ratio_rate1h")), "1h " + whose},
		query{each(sel("waitpoint:slo_errors:ratio_rate6h")), "6h " + whose},
	)
	b.stat(12, 7, spec{
		title: "Stuck", unit: "locale", none: "not visible",
		about:      "WAITING for longer than each --tokens.stuck-after; cumulative.",
		thresholds: steps(neutral, from(0, "blue")),
		links:      all("Stuck for ${__field.labels.after}", "&stuck=${__field.labels.after:percentencode}"),
	}, query{"sort_desc(sum by (after) (" + each(metric("tokens_stuck"), "after") + "))", "{{after}}"})
	b.stat(12, 7, spec{
		title: "Tokens by status", unit: "locale", none: "not loaded",
		about: "Tokens in the window; each counts once.",
	},
		query{"sum by (status) (" + each(metric("tokens"), "status") + ")", "{{status}}"},
		query{"sum by (status) (" + each(metric("tokens_ignored"), "status") + ")", "not counted, {{status}}"},
	)

	b.begin("By tag", "")
	link := all("Its tokens", "&tag=${__field.labels.tag:percentencode}")
	b.curves(8, 9, spec{
		title: "WAITING by tag", unit: "locale",
		about: "The ten tags with the most tokens; () is no tag.",
		links: link,
	}, query{top(tagged("tokens", waiting)), "({{tag}})"})
	b.curves(8, 9, spec{
		title: "Late by tag", unit: "locale",
		about: "The ten tags with the most late tokens.",
		links: link,
	}, query{top(tagged("tokens_late")), "({{tag}})"})
	b.curves(8, 9, spec{
		title: "Age of the oldest by tag", unit: "s",
		about: "The ten tags with the oldest tokens.",
		links: link,
	}, query{"topk(10, time() - min by (tag) (" + tagged("oldest_waiting_timestamp_seconds") + "))", "({{tag}})"})

	b.begin("Tag $tag", "tag")
	b.curves(8, 8, spec{
		title: "WAITING and late", unit: "locale",
		about: "Of the tag.",
		links: link,
	},
		query{sumByTag(tagged("tokens", waiting)), "WAITING ({{tag}})"},
		query{sumByTag(tagged("tokens_late")), "late ({{tag}})"},
		query{sumByTag(tagged("tokens_overdue")), "overdue ({{tag}})"},
	)
	taggedEnded := func(status string) string {
		return "60 * sum by (tag) " + finished("rate", taggedWaits, windowRate, "tag", `status="`+status+`"`, tagScope)
	}
	b.curves(8, 8, spec{
		title: "Created and finished, a minute", unit: "locale",
		about: "Of the tag.",
	},
		query{"60 * " + sumByTag(rate(tagged("tokens_created_total"))), "created ({{tag}})"},
		query{taggedEnded("COMPLETED"), "completed ({{tag}})"},
		query{taggedEnded("TIMED_OUT"), "timed out ({{tag}})"},
	)
	b.curves(8, 8, spec{
		title: "Mean wait until completed", unit: "s",
		about: "Of the tag, in the last hour.",
	}, query{mean("sum by (tag) ", taggedWaits, "1h", completed, tagScope), "({{tag}})"})
	return b.dashboard("waitpoints", "Waitpoint tokens",
		"Trigger.dev waitpoint tokens: what is wrong, whose it is, which tokens; what is coming, and how long "+
			"they wait.",
		BoardLink{Title: "Exporter", URL: "/d/waitpoint-exporter"},
		chosen(metric("tagged_tokens"), "tag", "Tag", "For the panels by tag.", ".*"))
}
