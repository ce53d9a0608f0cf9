package dashboards

// Exporter returns the dashboard on the exporter: does it see everything, how old is its
// snapshot, what does it cost.
func Exporter() *Dashboard {
	b := &board{}
	gauge := func(name string, more ...string) string { return sel("triggerdev_waitpoint_"+name, more...) }
	own := func(metric string) string { return metric + "{" + target + "}" }
	b.add(
		4,
		4,
		stat(
			"Scrape",
			"Whether Prometheus reaches every exporter.",
			"none",
			"no exporter",
			steps("red", 0, "red", 1, "green"),
			nil,
			query{"min(" + own("up") + ")", "scrape"},
		),
	)
	b.panels[0].FieldConfig.Defaults.Mappings = mapped(map[string][2]string{"0": {"down", "red"}, "1": {"up", "green"}})
	b.add(
		5,
		4,
		stat(
			"Not visible",
			"Environments without numbers.",
			"locale",
			"no exporter",
			steps("red", 0, "green", 1, "red"),
			nil,
			query{
				"count(" + each(
					"last_over_time("+gauge("up")+"[1d])",
				) + " unless " + each(
					gauge("tokens", waiting),
				) + ") or 0 * count(" + gauge(
					"up",
				) + ")",
				"environments",
			},
		),
	)
	b.add(
		5,
		4,
		stat(
			"Oldest snapshot",
			"The oldest snapshot of all environments.",
			"s",
			"no snapshot",
			steps("red", 0, "green", 300, "orange", 600, "red"),
			nil,
			query{"time() - min(" + gauge("last_refresh_timestamp_seconds") + ")", "age"},
		),
	)
	b.add(
		5,
		4,
		stat(
			"Rate limit left",
			"In the environment with the least left.",
			"percentunit",
			"no answer yet",
			steps(neutral, 0, "red", lowLimit, "green"),
			nil,
			query{
				"min(" + sel("triggerdev_api_rate_limit_remaining") + " / " + sel("triggerdev_api_rate_limit") + ")",
				"left",
			},
		),
	)
	b.add(
		5,
		4,
		stat(
			"Configuration",
			"Whether the last reload succeeded.",
			"none",
			"no exporter",
			steps(neutral, 0, "red", 1, "green"),
			nil,
			query{"min(" + own("waitpoint_exporter_config_last_reload_successful") + ")", "reload"},
		),
	)
	b.panels[len(b.panels)-1].FieldConfig.Defaults.Mappings = mapped(
		map[string][2]string{"0": {"refused", "red"}, "1": {"loaded", "green"}},
	)
	loaded := mapped(map[string][2]string{"0": {"loading", "orange"}, "1": {"loaded", "green"}})
	state := mapped(map[string][2]string{"0": {"failed", "red"}, "1": {"ok", "green"}})
	window := []any{map[string]any{"type": "value", "options": map[string]any{"0": map[string]any{"text": "all"}}}}
	b.add(24, 7, table(
		"Environments",
		"State of each environment; failed refreshes first.",
		"–",
		"age",
		column{
			name:  "project",
			label: "project",
		},
		column{name: "environment", label: "environment", links: cell("Its tokens", "")},
		column{name: "external_url", label: "external_url", hidden: true},
		column{
			name:     "refresh",
			expr:     "min by (project, environment, external_url) (" + at(gauge("up")) + ")",
			mappings: state,
		},
		column{
			name:       "age",
			expr:       "time() - " + each(gauge("last_refresh_timestamp_seconds")),
			unit:       "s",
			thresholds: new(steps(neutral, 0, "green", 300, "orange", 600, "red")),
		},
		column{
			name:     "history",
			expr:     "min by (project, environment) (" + gauge("history_loaded") + ")",
			mappings: loaded,
		},
		column{name: "unresolved", expr: each(gauge("tokens_unresolved"))},
		column{name: "tags folded", expr: each(gauge("tags_folded")), thresholds: new(oneIsBad())},
		column{name: "window", expr: each(gauge("period_seconds")), unit: "s", mappings: window},
		column{
			name: "limit left",
			expr: "min by (project, environment) (" + sel(
				"triggerdev_api_rate_limit_remaining",
			) + " / " + sel(
				"triggerdev_api_rate_limit",
			) + ")",
			unit:       "percentunit",
			thresholds: new(steps(neutral, 0, "red", lowLimit, "green")),
		},
	))

	b.begin("Refreshes", false, "")
	b.add(
		12,
		8,
		curves(
			"Age of the snapshot",
			"Token series disappear beyond --refresh.max-staleness, ten minutes by default.",
			"s",
			steps("green", 600, "red"),
			nil,
			query{"time() - " + each(gauge("last_refresh_timestamp_seconds")), "{{project}} {{environment}}"},
			query{
				"time() - min by (project, environment) (" + gauge("waiting_listed_timestamp_seconds") + ")",
				"least recent {{project}} {{environment}}",
			},
		),
	)
	failed := curves(
		"Failed refreshes",
		"By environment and reason. auth: the key is refused; rate_limited: others use up the limit; the runbook "+
			"has all.",
		"locale",
		steps("green", 1, "red"),
		nil,
		query{
			"sum by (project, environment, reason) (increase(" + gauge(
				"refresh_errors_total",
			) + "[$__rate_interval])) > 0",
			"{{reason}} {{project}} {{environment}}",
		},
	)
	failed.FieldConfig.Defaults.NoValue = "none failed"
	b.add(12, 8, failed)
	duration := "triggerdev_waitpoint_refresh_duration_seconds"
	b.add(8, 8, curves(
		"Duration of refreshes",
		"Including retries and waits for the rate limit.",
		"s",
		plain(),
		nil,
		query{
			quantile("0.5", duration, windowRate),
			"p50",
		},
		query{quantile("0.99", duration, windowRate), "p99"},
		query{mean(duration, windowRate), "mean"},
	))
	b.add(
		8,
		8,
		curves(
			"Unresolved and corrected",
			"Tokens whose outcome is still to be looked up, and tokens whose state the verify walk corrected.",
			"locale",
			plain(),
			nil,
			query{each(gauge("tokens_unresolved")), "unresolved {{project}} {{environment}}"},
			query{
				each("increase(" + gauge("verify_corrections_total") + "[$__rate_interval])"),
				"corrected {{project}} {{environment}}",
			},
			query{
				each("increase(" + gauge("late_arrivals_total") + "[$__rate_interval])"),
				"late arrivals {{project}} {{environment}}",
			},
			query{
				each(gauge("assumption_broken"), "assumption"),
				"{{assumption}} broken {{project}} {{environment}}",
			},
		),
	)
	b.add(
		8,
		8,
		curves(
			"Tags folded",
			"Tags beyond --tags.limit, counted under __other__.",
			"locale",
			steps("green", 1, "orange"),
			nil,
			query{each(gauge("tags_folded")), "{{project}} {{environment}}"},
		),
	)

	b.add(12, 8, curves("Assumptions about the service",
		"Tokens that a request by createdAt found although the top of the list had not shown them, and "+
			"assumptions that no longer hold.",
		"locale", steps("green", 1, "orange"), nil,
		query{
			each("increase(" + gauge("late_arrivals_total") + "[$__rate_interval])"),
			"late arrivals {{project}} {{environment}}",
		},
		query{each(gauge("assumption_broken"), "assumption"), "{{assumption}} broken {{project}} {{environment}}"}))
	b.add(12, 8, curves("Age of the least recent confirmation",
		"Many WAITING tokens are confirmed in turn. This is the one confirmed least recently; it decides "+
			"staleness.", "s", plain(), nil,
		query{
			"time() - min by (project, environment) (" + gauge("waiting_listed_timestamp_seconds") + ")",
			"{{project}} {{environment}}",
		}))

	b.begin("What it costs", false, "")
	b.add(8, 8, curves("Requests by code", "API requests a second.", "reqps", plain(), nil,
		query{"sum by (code) (rate(" + sel("triggerdev_api_requests_total") + "[$__rate_interval]))", "{{code}}"}))
	b.add(
		8,
		8,
		curves(
			"Rate limit left",
			"The exporter stops at --api.reserve; what is missing below that, others used.",
			"percentunit",
			steps("red", lowLimit, "green"),
			nil,
			query{
				"min by (project, environment) (" + sel(
					"triggerdev_api_rate_limit_remaining",
				) + " / " + sel(
					"triggerdev_api_rate_limit",
				) + ")",
				"{{project}} {{environment}}",
			},
		),
	)
	b.add(
		8,
		8,
		heatmap(
			"Duration of requests",
			"API requests by duration.",
			buckets("triggerdev_api_request_duration_seconds", windowRate),
		),
	)
	b.add(
		8,
		8,
		curves(
			"Memory",
			"Memory of the process.",
			"bytes",
			plain(),
			nil,
			query{own("process_resident_memory_bytes"), "resident {{instance}}"},
			query{own("go_memstats_heap_inuse_bytes"), "heap {{instance}}"},
		),
	)
	b.add(
		8,
		8,
		curves(
			"CPU",
			"CPU cores used.",
			"percentunit",
			plain(),
			nil,
			query{"rate(" + own("process_cpu_seconds_total") + "[$__rate_interval])", "{{instance}}"},
		),
	)
	b.add(
		8,
		8,
		curves(
			"Goroutines and files",
			"Endless growth is a leak.",
			"locale",
			plain(),
			nil,
			query{own("go_goroutines"), "goroutines {{instance}}"},
			query{own("process_open_fds"), "files {{instance}}"},
		),
	)
	b.add(
		8,
		8,
		curves(
			"Duration of scrapes",
			"As Prometheus measures it.",
			"s",
			plain(),
			nil,
			query{own("scrape_duration_seconds"), "{{instance}}"},
		),
	)
	b.add(
		16,
		8,
		table(
			"Build",
			"Version of each exporter, when it started and when it loaded its configuration.",
			"–",
			"started",
			column{
				name:  "instance",
				label: "instance",
			},
			column{name: "version", label: "version"},
			column{name: "revision", label: "revision"},
			column{name: "goversion", label: "goversion"},
			column{
				name: "started",
				unit: "dateTimeFromNow",
				expr: "1000 * max by (instance, version, revision, goversion) (" + own("process_start_time_seconds") +
					" * on (job, instance) group_left (version, revision, goversion) " +
					own("waitpoint_exporter_build_info") + ")",
			},
			column{
				name: "configuration",
				unit: "dateTimeFromNow",
				expr: "1000 * max by (instance) (" + own(
					"waitpoint_exporter_config_last_reload_success_timestamp_seconds",
				) + ")",
			},
		),
	)
	return dashboard(
		b,
		"waitpoint-exporter",
		"Waitpoint exporter",
		"The exporter itself: does it see everything, how old is its snapshot, what does it cost.",
		[]BoardLink{boardLink("Tokens", "/d/waitpoints"), tokensLink()},
		false,
	)
}
