package dashboards

const (
	waits       = "triggerdev_waitpoint_wait_duration_seconds"
	taggedWaits = "triggerdev_waitpoint_tagged_wait_duration_seconds"
	tagScope    = `tag=~"$tag"`
	waiting     = `status="WAITING"`
	windowRate  = "$__rate_interval"
	whose       = "{{project}} {{environment}}" // The end of a legend.
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

func byTag(expr string) string { return each(expr, "tag") }

// top returns the ten tags with the largest sums over all environments.
func top(expr string) string { return "topk(10, sum by (tag) (" + byTag(expr) + "))" }

// limitLeft returns the share of the rate limit that is left.
func limitLeft() string {
	return sel("triggerdev_api_rate_limit_remaining") + " / " + sel("triggerdev_api_rate_limit")
}

// limitColumn is the share of the rate limit that is left, by environment.
func limitColumn() column {
	return column{
		name: "limit left", expr: "min by (project, environment) (" + limitLeft() + ")",
		unit: "percentunit", thresholds: new(steps(neutral, 0, "red", lowLimit, "green")),
	}
}

// ageColumn is the age of the snapshot.
func ageColumn() column {
	return column{
		name: "age", expr: "time() - " + each(sel("triggerdev_waitpoint_last_refresh_timestamp_seconds")),
		unit: "s", thresholds: new(steps(neutral, 0, "green", 300, "orange", 600, "red")),
	}
}

// notVisible counts the environments without numbers, and those that disappeared within
// the last day.
func notVisible() query {
	up := sel("triggerdev_waitpoint_up")
	return query{"count(" + each("last_over_time("+up+"[1d])") + " unless " +
		each(sel("triggerdev_waitpoint_tokens", waiting)) + ") or 0 * count(" + up + ")", "environments"}
}

// created returns the tokens created a second.
func created(metric, window string, more ...string) string {
	return each("rate(" + sel(metric, more...) + "[" + window + "])")
}

func alertsFiring() *Panel {
	const by = "max by (alertname, project, environment, tag) "
	firing := func(severity string) string {
		return by + "(ALERTS{" + alerting + `, alertstate="firing", severity="` + severity + `"})`
	}
	return table(
		"Firing alerts",
		"Alerts of the rules in deploy/prometheus, the most severe first. The name links to the runbook, the "+
			"environment to its tokens.",
		"none, provided that the rules are loaded",
		"severity",
		column{
			name: "severity",
			expr: "3 * " + firing("critical") + " or 2 * " + firing("warning") + " or " + firing("info"),
			mappings: mapped(map[string][2]string{
				"3": {"critical", "red"}, "2": {"warning", "orange"}, "1": {"info", "blue"},
			}),
			width: 90,
		},
		column{
			name: "alert", label: "alertname", width: 260,
			links: []Link{{"What to do", "${exporter:raw}/runbook#:~:text=${__value.raw:percentencode}", true}},
		},
		column{name: "project", label: "project"},
		column{
			name: "environment", label: "environment",
			links: []Link{{"Its tokens", "${exporter:raw}/tokens?form=" +
				"&environment=${__data.fields.environment:percentencode}" +
				"&project=${__data.fields.project:percentencode}&tag=${__data.fields.tag:percentencode}", true}},
		},
		column{name: "tag", label: "tag"},
		column{
			name: "since",
			expr: "1000 * " + by + "(ALERTS_FOR_STATE{" + alerting + "}) and " + by + "(ALERTS{" + alerting +
				`, alertstate="firing"})`,
			unit: "dateTimeFromNow",
		},
	)
}

func environments() *Panel {
	up := "triggerdev_waitpoint_up"
	seen := each(sel("triggerdev_waitpoint_tokens", waiting))
	state := "max by (project, environment, external_url) (" + at(sel(up)) + ")"
	gone := each("last_over_time("+sel(up)+"[1d])") + " unless " + each(sel(up))
	return table(
		"Environments",
		"Environments that are not visible first. Numbers link to their tokens, at the exporter that has them.",
		"–",
		"state",
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
		column{name: "project", label: "project"},
		column{name: "environment", label: "environment", links: cell("Its tokens", "")},
		column{name: "external_url", label: "external_url", hidden: true},
		column{name: "reason", label: "reason"},
		column{
			name: "errors in 15m",
			expr: "topk by (project, environment) (1, " +
				each("increase("+sel("triggerdev_waitpoint_refresh_errors_total")+"[15m])", "reason") + " > 0)",
			thresholds: new(oneIsBad()),
		},
		ageColumn(),
		column{name: "WAITING", expr: seen, links: cell("WAITING", "")},
		column{
			name: "late", expr: each(sel("triggerdev_waitpoint_tokens_late")),
			thresholds: new(steps(neutral, 0, "green", lateFrom, "orange")), links: cell("Late", "&late=1"),
		},
		column{
			name: "stuck 1d", expr: each(sel("triggerdev_waitpoint_tokens_stuck", `after="1d"`)),
			links: cell("Stuck for 1d", "&stuck=1d"),
		},
		column{
			name: "overdue", expr: each(sel("triggerdev_waitpoint_tokens_overdue")),
			thresholds: new(oneIsBad()), links: cell("Overdue", "&overdue=1"),
		},
		column{
			name: "no timeout", expr: each(sel("triggerdev_waitpoint_tokens_without_timeout")),
			links: cell("Without timeout", "&no_timeout=1"),
		},
		limitColumn(),
	)
}

func tags() *Panel {
	m := func(name string, more ...string) string {
		return sel("triggerdev_waitpoint_"+name, append(more, tagScope)...)
	}
	shown := func(expr string) string {
		return `label_replace(label_replace(` + expr +
			`, "shown", "(no tag)", "tag", ""), "shown", "$1", "tag", "(.+)")`
	}
	withURL := "max by (project, environment, tag, external_url) (" + at(m("tagged_tokens", waiting)) + ")"
	tag := "&tag=${__data.fields.tag:percentencode}"
	return table(
		"By team and tag",
		"Tokens by tag; a token counts once under each of its tags. __other__ holds the tags beyond --tags.limit. "+
			"Numbers link to their tokens.",
		"–",
		"late",
		column{name: "team or tag", label: "shown", links: cell("Its tokens", tag), width: 220},
		column{name: "tag", label: "tag", hidden: true},
		column{name: "external_url", label: "external_url", hidden: true},
		column{name: "project", label: "project"},
		column{name: "environment", label: "environment"},
		column{name: "WAITING", expr: shown(withURL), links: cell("WAITING", tag)},
		column{
			name: "late", expr: shown(byTag(m("tagged_tokens_late"))),
			thresholds: new(steps(neutral, 0, "green", 1, "orange")), links: cell("Late", tag+"&late=1"),
		},
		column{
			name: "stuck 1d", expr: shown(byTag(m("tagged_tokens_stuck", `after="1d"`))),
			links: cell("Stuck for 1d", tag+"&stuck=1d"),
		},
		column{
			name: "overdue", expr: shown(byTag(m("tagged_tokens_overdue"))), thresholds: new(oneIsBad()),
			links: cell("Overdue", tag+"&overdue=1"),
		},
		column{
			name: "in 5m", expr: shown(byTag(m("tagged_tokens_near_timeout", `within="5m"`))),
			thresholds: new(steps(neutral, 0, "green", nearFrom, "orange")),
			links:      cell("Time out within 5m", tag+"&near_timeout=5m"),
		},
		column{
			name: "oldest",
			expr: shown("time() - min by (project, environment, tag) (" +
				m("tagged_oldest_waiting_timestamp_seconds") + ")"),
			unit: "s", links: cell("The oldest", tag),
		},
	)
}

// Waitpoints returns the dashboard on tokens. Its first screen shows whether something is
// wrong, whose it is, and which tokens.
func Waitpoints() *Dashboard {
	b := &board{}
	tokens := sel("triggerdev_waitpoint_tokens", waiting)
	gauge := func(name string, more ...string) string { return sel("triggerdev_waitpoint_"+name, more...) }
	b.stat(4, 4, spec{
		title: "Not visible", unit: "locale", none: "no exporter",
		about: "Environments without numbers: their snapshot is too old, or they disappeared within the last " +
			"day. Their alerts are silent.",
		thresholds: steps("red", 0, "green", 1, "red"),
		queries: []query{
			notVisible(),
		},
	})
	b.stat(4, 4, spec{
		title: "Alerts", unit: "locale", none: "none",
		about:      "Firing alerts by severity.",
		thresholds: steps("green", 1, "orange"),
		queries: []query{
			{"count by (severity) (ALERTS{" + alerting + `, alertstate="firing"})`, "{{severity}}"},
		},
	})
	expected := `after=""` // Without a threshold in place of what is expected.
	b.stat(4, 4, spec{
		title: "Late", unit: "locale", none: "no --tokens.expected-wait",
		about: "WAITING for longer than --tokens.expected-wait allows, and how many more than at the best hour " +
			"of the week, which is what the alerts compare.",
		thresholds: steps(neutral, 0, "green", lateFrom, "orange"),
		links:      all("Late tokens", "&late=1"),
		queries: []query{
			{"sum(" +
				each(sel("waitpoint:late:max5m", expected)+" - "+sel("waitpoint:late:min1w", expected)) +
				")", "new this week"},
			{"sum(" + each(sel("waitpoint:late:max5m", expected)) + ")", "all"},
		},
	})
	b.stat(4, 4, spec{
		title: "Overdue", unit: "locale", none: "not visible",
		about:      "WAITING although the timeout has passed: Trigger.dev is late to time them out.",
		thresholds: oneIsBad(),
		links:      all("Overdue tokens", "&overdue=1"),
		queries: []query{
			{"sum(" + each(gauge("tokens_overdue")) + ")", "overdue"},
		},
	})
	b.stat(4, 4, spec{
		title: "WAITING", unit: "locale", none: "not visible",
		about:      "Tokens that wait.",
		thresholds: steps(neutral, 0, "blue"),
		links:      all("WAITING tokens", ""),
		queries: []query{
			{"sum(" + each(tokens) + ")", "WAITING"},
		},
	})
	b.stat(4, 4, spec{
		title: "Oldest", unit: "s", none: "none waits",
		about:      "How long the oldest WAITING token has waited.",
		thresholds: steps(neutral, 0, "blue"),
		links:      all("The oldest first", ""),
		queries: []query{
			{"time() - min(" + gauge("oldest_waiting_timestamp_seconds") + ")", "oldest"},
		},
	})
	b.add(24, 6, environments())
	b.add(14, 9, tags())
	b.add(10, 9, alertsFiring())

	b.begin("What is coming", false, "")
	b.curves(8, 8, spec{
		title: "Timeouts coming up", unit: "locale",
		about:      "WAITING tokens that time out within each --tokens.near-timeout. The alert fires above the line.",
		thresholds: steps("green", nearFrom, "orange"),
		links:      series("Within ${__field.labels.within}", "&near_timeout=${__field.labels.within:percentencode}"),
		queries: []query{
			{each(gauge("tokens_near_timeout"), "within"), "{{within}} " + whose},
		},
	})
	b.curves(8, 8, spec{
		title: "Until the next timeout", unit: "s",
		about: "Time until the next timeout that has not passed.",
		links: series("What is near its timeout", "&near_timeout=1h"),
		queries: []query{
			{"clamp_min(min by (project, environment) (" + gauge("next_timeout_timestamp_seconds") +
				") - time(), 0)", whose},
		},
	})
	b.curves(8, 8, spec{
		title: "Late and overdue", unit: "locale",
		about:      "Late tokens, and tokens that Trigger.dev has not timed out.",
		thresholds: steps("green", lateFrom, "orange"),
		links:      series("Late", "&late=1"),
		queries: []query{
			{each(gauge("tokens_late")), "late " + whose},
			{each(gauge("tokens_overdue")), "overdue " + whose},
		},
	})

	b.begin("Flow", false, "")
	b.curves(10, 8, spec{
		title: "Created and finished, a minute", unit: "locale",
		about: "The backlog grows while more tokens are created than finish.",
		queries: []query{
			{"60 * sum(" + created("triggerdev_waitpoint_tokens_created_total", windowRate) + ")", "created"},
			{"60 * sum(" + finished("rate", windowRate, `status="COMPLETED"`) + ")", "completed"},
			{"60 * sum(" + finished("rate", windowRate, `status="TIMED_OUT"`) + ")", "timed out"},
		},
	})
	b.stat(4, 8, spec{
		title: "In this time range", unit: "locale", none: "not visible",
		about: "Tokens created and finished.",
		queries: []query{
			{"sum(" + each("increase("+gauge("tokens_created_total")+"[$__range])") + ")", "created"},
			{"sum(" + finished("increase", "$__range", `status="COMPLETED"`) + ")", "completed"},
			{"sum(" + finished("increase", "$__range", `status="TIMED_OUT"`) + ")", "timed out"},
		},
	})
	b.stat(4, 8, spec{
		title: "Time to clear the backlog", unit: "s", none: "nothing finishes",
		about:      "WAITING tokens divided by those that finished in the last hour, if no more are created.",
		thresholds: steps(neutral, 0, "blue"),
		queries: []query{
			{"sum(" + each(tokens) + ") / (sum(" + finished("rate", "1h") + ") > 0)", "at this rate"},
		},
	})
	b.curves(6, 8, spec{
		title: "Backlog", unit: "locale",
		about: "WAITING in each environment.",
		links: series("WAITING", ""),
		queries: []query{
			{each(tokens), whose},
		},
	})

	b.begin("How long they wait", false, "")
	b.heatmap(10, 9, "Wait of finished tokens",
		"Finished tokens by how long they waited. Dots are exemplars; look up their token_id at /tokens or in "+
			"Trigger.dev.",
		buckets(waits, windowRate))
	b.curves(8, 9, spec{
		title: "Wait until completed", unit: "s",
		about:      "Quantiles over the last hour.",
		thresholds: steps("green", 86400, "orange"),
		queries: []query{
			{quantile("0.5", waits, "1h", `status="COMPLETED"`), "p50"},
			{quantile("0.9", waits, "1h", `status="COMPLETED"`), "p90"},
			{quantile("0.99", waits, "1h", `status="COMPLETED"`), "p99"},
		},
	})
	b.curves(6, 9, spec{
		title: "Not completed within a day", unit: "percentunit",
		about: "Finished tokens that timed out or took longer than a day; the budget is 5%. The slow alert " +
			"fires above the line, the fast one above 72% of an hour.",
		thresholds: steps("green", 6*(1-objective), "orange"),
		queries: []query{
			{each(sel("waitpoint:slo_errors:ratio_rate1h")), "1h " + whose},
			{each(sel("waitpoint:slo_errors:ratio_rate6h")), "6h " + whose},
		},
	})
	b.stat(12, 7, spec{
		title: "Stuck", unit: "locale", none: "not visible",
		about:      "WAITING for longer than each --tokens.stuck-after; cumulative.",
		thresholds: steps(neutral, 0, "blue"),
		links:      all("Stuck for ${__field.labels.after}", "&stuck=${__field.labels.after:percentencode}"),
		queries: []query{
			{"sort_desc(sum by (after) (" + each(gauge("tokens_stuck"), "after") + "))", "{{after}}"},
		},
	})
	b.stat(12, 7, spec{
		title: "Tokens by status", unit: "locale", none: "not loaded",
		about: "Tokens in the window; each counts once.",
		queries: []query{
			{"sum by (status) (" + each(gauge("tokens"), "status") + ")", "{{status}}"},
			{"sum by (status) (" + each(gauge("tokens_ignored"), "status") + ")", "not counted, {{status}}"},
		},
	})

	b.begin("By tag", false, "")
	m := func(name string, more ...string) string { return gauge(name, append(more, tagScope)...) }
	link := []Link{
		{
			"Its tokens",
			"${exporter:raw}/tokens?form=&environment=${one_environment:percentencode}" +
				"&project=${one_project:percentencode}&tag=${__field.labels.tag:percentencode}",
			true,
		},
	}
	b.curves(8, 9, spec{
		title: "WAITING by tag", unit: "locale",
		about: "The ten tags with the most tokens; () is no tag.",
		links: link,
		queries: []query{
			{top(m("tagged_tokens", waiting)), "({{tag}})"},
		},
	})
	b.curves(8, 9, spec{
		title: "Late by tag", unit: "locale",
		about: "The ten tags with the most late tokens.",
		links: link,
		queries: []query{
			{top(m("tagged_tokens_late")), "({{tag}})"},
		},
	})
	b.curves(8, 9, spec{
		title: "Age of the oldest by tag", unit: "s",
		about: "The ten tags with the oldest tokens.",
		links: link,
		queries: []query{
			{"topk(10, time() - min by (tag) (" + m("tagged_oldest_waiting_timestamp_seconds") + "))", "({{tag}})"},
		},
	})

	b.begin("Tag $tag", true, "tag")
	b.curves(8, 8, spec{
		title: "WAITING and late", unit: "locale",
		about: "Of the tag.",
		links: link,
		queries: []query{
			{"sum by (tag) (" + byTag(m("tagged_tokens", waiting)) + ")", "WAITING ({{tag}})"},
			{"sum by (tag) (" + byTag(m("tagged_tokens_late")) + ")", "late ({{tag}})"},
			{"sum by (tag) (" + byTag(m("tagged_tokens_overdue")) + ")", "overdue ({{tag}})"},
		},
	})
	ended := func(status string) string {
		s := []string{`status="` + status + `"`, tagScope}
		return "60 * sum by (tag) (" + byTag(
			"rate("+sel(taggedWaits+"_count", s...)+"["+windowRate+"])",
		) + " or " + byTag(
			"histogram_count(rate("+sel(taggedWaits, s...)+"["+windowRate+"]))",
		) + ")"
	}
	b.curves(8, 8, spec{
		title: "Created and finished, a minute", unit: "locale",
		about: "Of the tag.",
		queries: []query{
			{"60 * sum by (tag) (" +
				byTag("rate("+m("tagged_tokens_created_total")+"["+windowRate+"])") + ")", "created ({{tag}})"},
			{ended("COMPLETED"), "completed ({{tag}})"},
			{ended("TIMED_OUT"), "timed out ({{tag}})"},
		},
	})
	s := `status="COMPLETED"`
	b.curves(8, 8, spec{
		title: "Mean wait until completed", unit: "s",
		about: "Of the tag, in the last hour.",
		queries: []query{
			{"sum by (tag) (rate(" + sel(taggedWaits+"_sum", s, tagScope) + "[1h])) / sum by (tag) (rate(" +
				sel(taggedWaits+"_count", s, tagScope) + "[1h]))" + " or histogram_sum(sum by (tag) (rate(" +
				sel(taggedWaits, s, tagScope) + "[1h]))) / histogram_count(sum by (tag) (rate(" +
				sel(taggedWaits, s, tagScope) + "[1h])))", "({{tag}})"},
		},
	})
	return dashboard(
		b,
		"waitpoints",
		"Waitpoint tokens",
		"Trigger.dev waitpoint tokens: what is wrong, whose it is, which tokens; what is coming, and how long "+
			"they wait.",
		[]BoardLink{boardLink("Exporter", "/d/waitpoint-exporter"), tokensLink()},
		true,
	)
}

func boardLink(title, url string) BoardLink {
	return BoardLink{
		Title:       title,
		Type:        "link",
		Icon:        "dashboard",
		URL:         url,
		Tags:        []string{},
		IncludeVars: true,
		KeepTime:    true,
	}
}

func tokensLink() BoardLink {
	return BoardLink{
		Title:       "WAITING tokens",
		Type:        "link",
		Icon:        "external link",
		URL:         all("", "")[0].URL,
		Tags:        []string{},
		TargetBlank: true,
	}
}
