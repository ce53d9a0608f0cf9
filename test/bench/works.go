package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A work is one measurement. It returns one or more rows.
type work struct {
	name string
	run  func(context.Context, *bench) ([]row, error)
}

func works() []work {
	return []work{
		{"sync", syncAgainstPeer},
		{"walks", syncInParts},
		{"limit", syncUnderLimit},
		{"production", besideProduction},
		{"million", million},
		{"fifty", fifty},
		{"load", load},
		{"requests", requests},
	}
}

const loaded = "triggerdev_waitpoint_history_loaded{"

func isLoaded(_ int, body string) bool { return value(body, loaded) == 1 }

func isReady(code int, _ string) bool { return code == http.StatusOK }

// value returns the first sample whose line begins with begin; -1 if there is none.
func value(body, begin string) float64 {
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, begin) {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
			if err == nil {
				return v
			}
		}
	}
	return -1
}

// exactly returns a condition: the samples whose lines begin with names add up to the
// number of tokens, so the first listing is complete.
func exactly(tokens int, names string) func(int, string) bool {
	return func(_ int, body string) bool {
		sum := 0.0
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, names) {
				sum += max(0, value(line, names))
			}
		}
		return sum == float64(tokens)
	}
}

const syncRuns = 5

// syncAgainstPeer lists 100,000 tokens syncRuns times each with the exporter and the
// peer, in turns, and returns the medians.
func syncAgainstPeer(ctx context.Context, b *bench) ([]row, error) {
	const tokens = 100_000
	api, err := b.simulator(ctx, service{tokens: tokens, waiting: 1000, unlimited: true})
	if err != nil {
		return nil, err
	}
	defer api.stop()
	var cpu, peak, wall [2][]float64
	for range syncRuns {
		for side := range 2 {
			var p *process
			done := exactly(tokens, "triggerdev_waitpoint_tokens{")
			if side == 0 {
				p, err = b.exporterOf(ctx, api)
			} else {
				p, err = b.peerOf(ctx, api, time.Hour)
				done = exactly(tokens, "peer_tokens{")
			}
			if err != nil {
				return nil, err
			}
			took, err := p.until(ctx, "/metrics", 100*time.Millisecond, done)
			var u usage
			if err == nil {
				u, err = p.usage()
			}
			p.stop()
			if err != nil {
				return nil, err
			}
			cpu[side] = append(cpu[side], u.cpu.Seconds())
			peak[side] = append(peak[side], float64(u.peak)/(1<<20))
			wall[side] = append(wall[side], took.Seconds())
		}
	}
	compare := func(what, format string, v [2][]float64) row {
		own, peer := median(v[0]), median(v[1])
		return row{"first sync of 100,000 tokens: " + what, fmt.Sprintf(format, own), "SDK peer: " +
			fmt.Sprintf(format, peer), fmt.Sprintf("1/%.1f", peer/own)}
	}
	return []row{compare("CPU", "%.2f s", cpu), compare("peak memory", "%.0f MiB", peak), compare("time", "%.2f s",
		wall)}, nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// syncInParts lists 100,000 tokens at 50 ms per answer, with a concurrency of 4 and of 1.
func syncInParts(ctx context.Context, b *bench) ([]row, error) {
	api, err := b.simulator(ctx, service{
		tokens: 100_000, waiting: 1000, unlimited: true,
		latency: 50 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	defer api.stop()
	var took [2]time.Duration
	var known time.Duration
	for i, concurrency := range []string{"4", "1"} {
		p, err := b.exporterOf(ctx, api, "--api.concurrency="+concurrency)
		if err != nil {
			return nil, err
		}
		ready, err := p.until(ctx, "/-/ready", 5*time.Millisecond, isReady)
		if err == nil {
			took[i], err = p.until(ctx, "/metrics", 50*time.Millisecond, isLoaded)
		}
		p.stop()
		if err != nil {
			return nil, err
		}
		if i == 0 {
			known = ready
		}
	}
	return []row{
		{"first sync of 100,000 tokens, 50 ms an answer, no limit", seconds(took[0]), "one walk: " +
			seconds(took[1]), fmt.Sprintf("%.1f times faster", took[1].Seconds()/took[0].Seconds())},
		{"the same: WAITING known, 1,000 tokens", seconds(known), "", ""},
	}, nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// syncUnderLimit lists 100,000 tokens under the service's default limit, half of which
// is reserved for others.
func syncUnderLimit(ctx context.Context, b *bench) ([]row, error) {
	const size, refill, every = 750, 250, 10 * time.Second
	api, err := b.simulator(ctx, service{tokens: 100_000, waiting: 1000})
	if err != nil {
		return nil, err
	}
	defer api.stop()
	before, err := api.stats(ctx)
	if err != nil {
		return nil, err
	}
	// Begin right after a refill, so that the allowance is the same each time.
	time.Sleep(every - time.Since(before.Started)%every + 100*time.Millisecond)
	p, err := b.exporterOf(ctx, api)
	if err != nil {
		return nil, err
	}
	took, err := p.until(ctx, "/metrics", 50*time.Millisecond, isLoaded)
	p.stop()
	if err != nil {
		return nil, err
	}
	after, err := api.stats(ctx)
	if err != nil {
		return nil, err
	}
	refills := (after.Requests - size/2 + refill - 1) / refill
	allowed := time.Duration(refills)*every - 100*time.Millisecond
	return []row{{
		"first sync of 100,000 under the default limit, half of it reserved", seconds(took) +
			fmt.Sprintf(", %d refused", after.Refused),
		fmt.Sprintf("allowed: %d requests in %s", after.Requests, seconds(allowed)), fmt.Sprintf("%.2f",
			took.Seconds()/allowed.Seconds()),
	}}, nil
}

// besideProduction calls the service ten times a second, as production would, during a
// first sync of 120,000 tokens under the default limit.
func besideProduction(ctx context.Context, b *bench) ([]row, error) {
	const (
		calls = 350
		pause = 100 * time.Millisecond
	)
	var texts [2]string
	for side := range 2 {
		api, err := b.simulator(ctx, service{tokens: 120_000, waiting: 1000})
		if err != nil {
			return nil, err
		}
		var p *process
		if side == 0 {
			p, err = b.exporterOf(ctx, api)
		} else {
			p, err = b.peerOf(ctx, api, 2*time.Second)
		}
		if err != nil {
			api.stop()
			return nil, err
		}
		refused := 0
		for range calls {
			code, _, err := api.get(ctx, "/api/v1/waitpoints/tokens?page%5Bsize%5D=1",
				http.Header{"Authorization": {"Bearer " + key}})
			if err != nil {
				p.stop()
				api.stop()
				return nil, errors.Join(err, ctx.Err())
			}
			if code == http.StatusTooManyRequests {
				refused++
			}
			time.Sleep(pause)
		}
		s, err := api.stats(ctx)
		p.stop()
		api.stop()
		if err != nil {
			return nil, err
		}
		texts[side] = fmt.Sprintf("%d of %d refused; own: %d of %d", refused, calls, s.Refused-refused,
			s.Requests-calls)
	}
	return []row{{
		"production at 10 calls a second beside a first sync of 120,000, default limit", texts[0],
		"SDK peer: " + texts[1], "",
	}}, nil
}

// million watches 1,000,000 tokens, with ten new ones per second, and scrapes them as
// Prometheus does.
func million(ctx context.Context, b *bench) ([]row, error) {
	api, err := b.simulator(ctx, service{tokens: 1_000_000, waiting: 20_000, unlimited: true, perSecond: 10})
	if err != nil {
		return nil, err
	}
	defer api.stop()
	p, err := b.exporterOf(ctx, api, "--refresh.interval=5s", "--tokens.expected-wait=4h")
	if err != nil {
		return nil, err
	}
	defer p.stop()
	took, err := p.until(ctx, "/metrics", 250*time.Millisecond, isLoaded)
	if err != nil {
		return nil, err
	}
	p50, p99, err := p.scrapes(ctx)
	if err != nil {
		return nil, err
	}
	u, err := p.usage()
	if err != nil {
		return nil, err
	}
	return []row{
		{"1,000,000 tokens, 20,000 WAITING: peak memory", fmt.Sprintf("%d MiB", u.peak>>20), "", ""},
		{"the same: scrape with 100 tags, p50 and p99", p50 + ", " + p99, "", ""},
		{"the same: first sync, no limit", seconds(took), "", ""},
	}, nil
}

// scrapes requests the metrics a thousand times, as Prometheus does, and returns the
// 50th and 99th percentiles of the time that a scrape takes.
func (p *process) scrapes(ctx context.Context) (p50, p99 string, err error) {
	const n = 1000
	header := http.Header{
		"Accept": {"application/openmetrics-text;version=1.0.0;q=0.6," +
			"text/plain;version=0.0.4;q=0.3,*/*;q=0.2"},
		"Accept-Encoding": {"gzip"},
	}
	var times []float64
	for range n {
		begun := time.Now()
		if _, _, err := p.get(ctx, "/metrics", header.Clone()); err != nil {
			return "", "", err
		}
		times = append(times, float64(time.Since(begun).Microseconds())/1000)
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(times)
	return fmt.Sprintf("%.1f ms", times[n/2]), fmt.Sprintf("%.1f ms", times[n*99/100]), nil
}

// fifty watches fifty environments of 2,000 tokens each in one process.
func fifty(ctx context.Context, b *bench) ([]row, error) {
	const (
		environments = 50
		minute       = time.Minute
	)
	api, err := b.simulator(ctx, service{environments: environments, tokens: 2000, waiting: 100, perSecond: 0.1})
	if err != nil {
		return nil, err
	}
	defer api.stop()
	var text strings.Builder
	text.WriteString("defaults: {api_url: " + strconv.Quote(api.url) + ", tags: {limit: 10}}\nenvironments:\n")
	for i := range environments {
		fmt.Fprintf(&text, "  - {name: prod, project: p%d, secret_key: %s}\n", i, keyOf(i))
	}
	path := filepath.Join(b.dir, "fifty.yml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return nil, err
	}
	p, err := b.exporterOf(ctx, nil, "--config.file="+path)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	took, err := p.until(ctx, "/metrics", 250*time.Millisecond, func(_ int, body string) bool {
		n := 0
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, loaded) && value(line, loaded) == 1 {
				n++
			}
		}
		return n == environments
	})
	if err != nil {
		return nil, err
	}
	before, err := p.usage()
	if err != nil {
		return nil, err
	}
	time.Sleep(minute)
	steady, err := p.usage()
	if err != nil {
		return nil, err
	}
	p50, p99, err := p.scrapes(ctx)
	if err != nil {
		return nil, err
	}
	u, err := p.usage()
	if err != nil {
		return nil, err
	}
	return []row{
		{"50 environments of 2,000 tokens, default limit: all loaded", seconds(took), "", ""},
		{"the same: peak memory; CPU in a minute", fmt.Sprintf("%d MiB; %s", u.peak>>20,
			seconds(steady.cpu-before.cpu)), "", ""},
		{"the same: scrape of all with 10 tags each, p50 and p99", p50 + ", " + p99, "", ""},
	}, nil
}

// requests runs the test that counts requests, which has its own clock.
func requests(ctx context.Context, _ *bench) ([]row, error) {
	out, err := output(ctx, "", "go", "test", "-count=1", "-v", "-run", "^TestRequests$",
		"waitpoint_exporter/collector/refresh")
	if err != nil {
		return nil, err
	}
	var rows []row
	line := regexp.MustCompile(`: ((\d+) tokens, .*): ([0-9.]+) requests a refresh`)
	for _, m := range line.FindAllStringSubmatch(out, -1) {
		all, err := strconv.Atoi(m[2])
		if err != nil {
			return nil, err
		}
		figure, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{
			m[1], m[3] + " requests a refresh", fmt.Sprintf("listing all: %d", all/100),
			fmt.Sprintf("1/%.0f", float64(all)/100/figure),
		})
	}
	if len(rows) == 0 {
		return nil, errors.New("the test reports no requests")
	}
	return rows, nil
}
