package dashboards

// Exporter returns the dashboard on the exporter: does it see everything, how old is its
// snapshot, what does it cost.
func Exporter() *Dashboard {
	b := &board{}
	own := func(metric string) string { return metric + "{" + target + "}" }
	b.stat(4, 4, spec{
		title: "Scrape", unit: "none", none: "no exporter",
		about:      "Whether Prometheus reaches every exporter.",
		thresholds: steps("red", from(0, "red"), from(1, "green")),
		mappings:   mapped(map[string][2]string{"0": {"down", "red"}, "1": {"up", "green"}}),
	}, query{"min(" + own("up") + ")", "scrape"})
	b.stat(5, 4, spec{
		title: "Not visible", unit: "locale", none: "no exporter",
		about:      "Environments without numbers.",
		thresholds: steps("red", from(0, "green"), from(1, "red")),
	}, notVisible())
	b.stat(5, 4, spec{
		title: "Oldest snapshot", unit: "s", none: "no snapshot",
		about:      "The oldest snapshot of all environments.",
		thresholds: steps("red", from(0, "green"), from(300, "orange"), from(600, "red")),
	}, query{"time() - min(" + metric("last_refresh_timestamp_seconds") + ")", "age"})
	b.stat(5, 4, spec{
		title: "Rate limit left", unit: "percentunit", none: "no answer yet",
		about:      "In the environment with the least left.",
		thresholds: steps(neutral, from(0, "red"), from(lowLimit, "green")),
	}, query{"min(" + limitLeft() + ")", "left"})
	b.stat(5, 4, spec{
		title: "Configuration", unit: "none", none: "no exporter",
		about:      "Whether the last reload succeeded.",
		thresholds: steps(neutral, from(0, "red"), from(1, "green")),
		mappings:   mapped(map[string][2]string{"0": {"refused", "red"}, "1": {"loaded", "green"}}),
	}, query{"min(" + own("waitpoint_exporter_config_last_reload_successful") + ")", "reload"})
	loaded := mapped(map[string][2]string{"0": {"loading", "orange"}, "1": {"loaded", "green"}})
	state := mapped(map[string][2]string{"0": {"failed", "red"}, "1": {"ok", "green"}})
	window := []any{map[string]any{"type": "value", "options": map[string]any{"0": map[string]any{"text": "all"}}}}
	b.table(24, 7, spec{title: "Environments", about: "State of each environment; failed refreshes first."}, "age",
		column{name: "project"},
		column{name: "environment", links: cell("Its tokens", "")},
		column{name: "external_url", hidden: true},
		column{name: "refresh", expr: least(at(metric("up")), "external_url"), mappings: state},
		ageColumn(),
		column{name: "history", expr: least(metric("history_loaded")), mappings: loaded},
		column{name: "unresolved", expr: each(metric("tokens_unresolved"))},
		column{name: "tags folded", expr: each(metric("tags_folded")), thresholds: orangeFrom(1)},
		column{name: "window", expr: each(metric("period_seconds")), unit: "s", mappings: window},
		limitColumn(),
	)

	b.begin("Refreshes", "")
	b.curves(12, 8, spec{
		title: "Age of the snapshot", unit: "s",
		about: "Token series disappear beyond --refresh.max-staleness, ten minutes by default. Many WAITING " +
			"tokens are confirmed in turn; then the least recent confirmation decides.",
		thresholds: steps("green", from(600, "red")),
	},
		query{"time() - " + each(metric("last_refresh_timestamp_seconds")), whose},
		query{"time() - " + least(metric("waiting_listed_timestamp_seconds")), "least recent " + whose},
	)
	b.curves(12, 8, spec{
		title: "Failed refreshes", unit: "locale", none: "none or not visible",
		about: "By environment and reason. auth: the key is refused; rate_limited: others use up the limit; " +
			"the runbook has all.",
		thresholds: steps("green", from(1, "red")),
	}, query{"sum" + byEnvironment(increase(metric("refresh_errors_total")), "reason") + " > 0", "{{reason}} " + whose})
	duration := "triggerdev_waitpoint_refresh_duration_seconds"
	b.curves(6, 8, spec{
		title: "Duration of refreshes", unit: "s",
		about: "Including retries and waits for the rate limit.",
	},
		query{quantile("0.5", duration, windowRate), "p50"},
		query{quantile("0.99", duration, windowRate), "p99"},
		query{mean("sum", duration, windowRate), "mean"},
	)
	b.curves(6, 8, spec{
		title: "Unresolved and corrected", unit: "locale",
		about: "Tokens whose outcome is still to be looked up, and tokens whose state the verify walk corrected.",
	},
		query{each(metric("tokens_unresolved")), "unresolved " + whose},
		query{each(increase(metric("verify_corrections_total"))), "corrected " + whose},
	)
	b.curves(6, 8, spec{
		title: "Assumptions about the service", unit: "locale",
		about: "Tokens that a request by createdAt found although the top of the list had not shown them, and " +
			"assumptions that no longer hold.",
		thresholds: steps("green", from(1, "orange")),
	},
		query{each(increase(metric("late_arrivals_total"))), "late arrivals " + whose},
		query{each(metric("assumption_broken"), "assumption"), "{{assumption}} broken " + whose},
	)
	b.curves(6, 8, spec{
		title: "Tags folded", unit: "locale",
		about:      "Tags beyond --tags.limit, counted under __other__.",
		thresholds: steps("green", from(1, "orange")),
	}, query{each(metric("tags_folded")), whose})

	b.begin("What it costs", "")
	b.curves(8, 8, spec{
		title: "Requests by code", unit: "reqps",
		about: "API requests a second.",
	}, query{"sum by (code) (" + rate(sel("triggerdev_api_requests_total")) + ")", "{{code}}"})
	b.curves(8, 8, spec{
		title: "Rate limit left", unit: "percentunit",
		about:      "The exporter stops at --api.reserve; what is missing below that, others used.",
		thresholds: steps("red", from(lowLimit, "green")),
	}, query{least(limitLeft()), whose})
	b.heatmap(8, 8, spec{title: "Duration of requests", unit: "locale", about: "API requests by duration."},
		"triggerdev_api_request_duration_seconds")
	b.curves(8, 8, spec{
		title: "Memory", unit: "bytes",
		about: "Memory of the process.",
	},
		query{own("process_resident_memory_bytes"), "resident {{instance}}"},
		query{own("go_memstats_heap_inuse_bytes"), "heap {{instance}}"},
	)
	b.curves(8, 8, spec{
		title: "CPU", unit: "percentunit",
		about: "CPU cores used.",
	}, query{rate(own("process_cpu_seconds_total")), "{{instance}}"})
	b.curves(8, 8, spec{
		title: "Goroutines and files", unit: "locale",
		about: "Endless growth is a leak.",
	},
		query{own("go_goroutines"), "goroutines {{instance}}"},
		query{own("process_open_fds"), "files {{instance}}"},
	)
	b.curves(8, 8, spec{
		title: "Duration of scrapes", unit: "s",
		about: "As Prometheus measures it.",
	}, query{own("scrape_duration_seconds"), "{{instance}}"})
	b.table(16, 8, spec{
		title: "Build", about: "Version of each exporter, when it started and when it loaded its configuration.",
	}, "started",
		column{name: "instance"},
		column{name: "version"},
		column{name: "revision"},
		column{name: "goversion"},
		column{
			name: "started", unit: "dateTimeFromNow",
			expr: "1000 * max by (instance, version, revision, goversion) (" + own("process_start_time_seconds") +
				" * on (job, instance) group_left (version, revision, goversion) " +
				own("waitpoint_exporter_build_info") + ")",
		},
		column{
			name: "configuration", unit: "dateTimeFromNow",
			expr: "1000 * max by (instance) (" +
				own("waitpoint_exporter_config_last_reload_success_timestamp_seconds") + ")",
		},
	)
	return b.dashboard("waitpoint-exporter", "Waitpoint exporter",
		"The exporter itself: does it see everything, how old is its snapshot, what does it cost.",
		BoardLink{Title: "Tokens", URL: "/d/waitpoints"})
}
