package dashboards

// Exporter returns the dashboard on the exporter: does it see everything, how old is its
// snapshot, what does it cost.
func Exporter() *Dashboard {
	b := &board{}
	gauge := func(name string, more ...string) string { return sel("triggerdev_waitpoint_"+name, more...) }
	own := func(metric string) string { return metric + "{" + target + "}" }
	b.stat(4, 4, spec{
		title: "Scrape", unit: "none", none: "no exporter",
		about:      "Whether Prometheus reaches every exporter.",
		thresholds: steps("red", 0, "red", 1, "green"),
		mappings:   mapped(map[string][2]string{"0": {"down", "red"}, "1": {"up", "green"}}),
		queries: []query{
			{"min(" + own("up") + ")", "scrape"},
		},
	})
	b.stat(5, 4, spec{
		title: "Not visible", unit: "locale", none: "no exporter",
		about:      "Environments without numbers.",
		thresholds: steps("red", 0, "green", 1, "red"),
		queries: []query{
			notVisible(),
		},
	})
	b.stat(5, 4, spec{
		title: "Oldest snapshot", unit: "s", none: "no snapshot",
		about:      "The oldest snapshot of all environments.",
		thresholds: steps("red", 0, "green", 300, "orange", 600, "red"),
		queries: []query{
			{"time() - min(" + gauge("last_refresh_timestamp_seconds") + ")", "age"},
		},
	})
	b.stat(5, 4, spec{
		title: "Rate limit left", unit: "percentunit", none: "no answer yet",
		about:      "In the environment with the least left.",
		thresholds: steps(neutral, 0, "red", lowLimit, "green"),
		queries: []query{
			{"min(" + limitLeft() + ")", "left"},
		},
	})
	b.stat(5, 4, spec{
		title: "Configuration", unit: "none", none: "no exporter",
		about:      "Whether the last reload succeeded.",
		thresholds: steps(neutral, 0, "red", 1, "green"),
		mappings:   mapped(map[string][2]string{"0": {"refused", "red"}, "1": {"loaded", "green"}}),
		queries: []query{
			{"min(" + own("waitpoint_exporter_config_last_reload_successful") + ")", "reload"},
		},
	})
	loaded := mapped(map[string][2]string{"0": {"loading", "orange"}, "1": {"loaded", "green"}})
	state := mapped(map[string][2]string{"0": {"failed", "red"}, "1": {"ok", "green"}})
	window := []any{map[string]any{"type": "value", "options": map[string]any{"0": map[string]any{"text": "all"}}}}
	b.add(24, 7, table(
		"Environments",
		"State of each environment; failed refreshes first.",
		"–",
		"age",
		column{name: "project", label: "project"},
		column{name: "environment", label: "environment", links: cell("Its tokens", "")},
		column{name: "external_url", label: "external_url", hidden: true},
		column{
			name: "refresh", expr: "min by (project, environment, external_url) (" + at(gauge("up")) + ")",
			mappings: state,
		},
		ageColumn(),
		column{
			name: "history", expr: "min by (project, environment) (" + gauge("history_loaded") + ")",
			mappings: loaded,
		},
		column{name: "unresolved", expr: each(gauge("tokens_unresolved"))},
		column{name: "tags folded", expr: each(gauge("tags_folded")), thresholds: new(oneIsBad())},
		column{name: "window", expr: each(gauge("period_seconds")), unit: "s", mappings: window},
		limitColumn(),
	))

	b.begin("Refreshes", false, "")
	b.curves(12, 8, spec{
		title: "Age of the snapshot", unit: "s",
		about: "Token series disappear beyond --refresh.max-staleness, ten minutes by default. Many WAITING " +
			"tokens are confirmed in turn; then the least recent confirmation decides.",
		thresholds: steps("green", 600, "red"),
		queries: []query{
			{"time() - " + each(gauge("last_refresh_timestamp_seconds")), whose},
			{"time() - min by (project, environment) (" + gauge("waiting_listed_timestamp_seconds") +
				")", "least recent " + whose},
		},
	})
	b.curves(12, 8, spec{
		title: "Failed refreshes", unit: "locale", none: "none failed",
		about: "By environment and reason. auth: the key is refused; rate_limited: others use up the limit; " +
			"the runbook has all.",
		thresholds: steps("green", 1, "red"),
		queries: []query{
			{"sum by (project, environment, reason) (increase(" + gauge("refresh_errors_total") +
				"[$__rate_interval])) > 0", "{{reason}} " + whose},
		},
	})
	duration := "triggerdev_waitpoint_refresh_duration_seconds"
	b.curves(6, 8, spec{
		title: "Duration of refreshes", unit: "s",
		about: "Including retries and waits for the rate limit.",
		queries: []query{
			{quantile("0.5", duration, windowRate), "p50"},
			{quantile("0.99", duration, windowRate), "p99"},
			{mean(duration, windowRate), "mean"},
		},
	})
	b.curves(6, 8, spec{
		title: "Unresolved and corrected", unit: "locale",
		about: "Tokens whose outcome is still to be looked up, and tokens whose state the verify walk corrected.",
		queries: []query{
			{each(gauge("tokens_unresolved")), "unresolved " + whose},
			{each("increase(" + gauge("verify_corrections_total") + "[$__rate_interval])"), "corrected " + whose},
		},
	})
	b.curves(6, 8, spec{
		title: "Assumptions about the service", unit: "locale",
		about: "Tokens that a request by createdAt found although the top of the list had not shown them, and " +
			"assumptions that no longer hold.",
		thresholds: steps("green", 1, "orange"),
		queries: []query{
			{each("increase(" + gauge("late_arrivals_total") + "[$__rate_interval])"), "late arrivals " + whose},
			{each(gauge("assumption_broken"), "assumption"), "{{assumption}} broken " + whose},
		},
	})
	b.curves(6, 8, spec{
		title: "Tags folded", unit: "locale",
		about:      "Tags beyond --tags.limit, counted under __other__.",
		thresholds: steps("green", 1, "orange"),
		queries: []query{
			{each(gauge("tags_folded")), whose},
		},
	})

	b.begin("What it costs", false, "")
	b.curves(8, 8, spec{
		title: "Requests by code", unit: "reqps",
		about: "API requests a second.",
		queries: []query{
			{"sum by (code) (rate(" + sel("triggerdev_api_requests_total") + "[$__rate_interval]))", "{{code}}"},
		},
	})
	b.curves(8, 8, spec{
		title: "Rate limit left", unit: "percentunit",
		about:      "The exporter stops at --api.reserve; what is missing below that, others used.",
		thresholds: steps("red", lowLimit, "green"),
		queries: []query{
			{"min by (project, environment) (" + limitLeft() + ")", whose},
		},
	})
	b.heatmap(8, 8, "Duration of requests",
		"API requests by duration.",
		buckets("triggerdev_api_request_duration_seconds", windowRate))
	b.curves(8, 8, spec{
		title: "Memory", unit: "bytes",
		about: "Memory of the process.",
		queries: []query{
			{own("process_resident_memory_bytes"), "resident {{instance}}"},
			{own("go_memstats_heap_inuse_bytes"), "heap {{instance}}"},
		},
	})
	b.curves(8, 8, spec{
		title: "CPU", unit: "percentunit",
		about: "CPU cores used.",
		queries: []query{
			{"rate(" + own("process_cpu_seconds_total") + "[$__rate_interval])", "{{instance}}"},
		},
	})
	b.curves(8, 8, spec{
		title: "Goroutines and files", unit: "locale",
		about: "Endless growth is a leak.",
		queries: []query{
			{own("go_goroutines"), "goroutines {{instance}}"},
			{own("process_open_fds"), "files {{instance}}"},
		},
	})
	b.curves(8, 8, spec{
		title: "Duration of scrapes", unit: "s",
		about: "As Prometheus measures it.",
		queries: []query{
			{own("scrape_duration_seconds"), "{{instance}}"},
		},
	})
	b.add(16, 8, table(
		"Build",
		"Version of each exporter, when it started and when it loaded its configuration.",
		"–",
		"started",
		column{name: "instance", label: "instance"},
		column{name: "version", label: "version"},
		column{name: "revision", label: "revision"},
		column{name: "goversion", label: "goversion"},
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
	))
	return dashboard(
		b,
		"waitpoint-exporter",
		"Waitpoint exporter",
		"The exporter itself: does it see everything, how old is its snapshot, what does it cost.",
		[]BoardLink{boardLink("Tokens", "/d/waitpoints"), tokensLink()},
		false,
	)
}
