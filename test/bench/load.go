package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	scrapers    = 200
	slowClients = 50
	loadTime    = 20 * time.Second
	loadPeriod  = time.Second           // Between two scrapes of a client.
	loadPause   = 10 * time.Millisecond // Between two reads of a slow client, a byte each.
)

// load refreshes 1,000,000 tokens each second, first without other load, then while two
// hundred clients scrape at the same moment of each second and fifty more read a byte at
// a time. It fails if a scrape fails.
func load(ctx context.Context, b *bench) ([]row, error) {
	api, err := b.simulator(ctx, service{tokens: 1_000_000, waiting: 20_000, unlimited: true, perSecond: 10})
	if err != nil {
		return nil, err
	}
	defer api.stop()
	p, err := b.exporterOf(ctx, api, "--refresh.interval=1s")
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if _, err := p.until(ctx, "/metrics", 250*time.Millisecond, isLoaded); err != nil {
		return nil, err
	}
	alone, err := p.refreshes(ctx, func() error {
		time.Sleep(loadTime)
		return nil
	})
	if err != nil {
		return nil, err
	}
	before, err := p.usage()
	if err != nil {
		return nil, err
	}
	var times []float64
	loaded, err := p.refreshes(ctx, func() error {
		var err error
		times, err = p.scrapedByMany(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	after, err := p.usage()
	if err != nil {
		return nil, err
	}
	n := len(times)
	slices.Sort(times)
	return []row{
		{fmt.Sprintf("1,000,000 tokens, %d scrapes at once each second beside %d slow clients for %s: failed",
			scrapers, slowClients, loadTime), fmt.Sprintf("0 of %d", n), "", ""},
		{"the same: scrape, p50 and p99", fmt.Sprintf("%.0f ms, %.0f ms", times[n/2], times[n*99/100]), "", ""},
		{
			"the same: refreshes, and how long one takes", loaded.String(), "without load: " + alone.String(),
			fmt.Sprintf("%.1f", loaded.mean()/alone.mean()),
		},
		{"the same: peak memory", fmt.Sprintf("%d MiB", after.peak>>20), fmt.Sprintf("without load: %d MiB",
			before.peak>>20), ""},
	}, nil
}

// refreshCost is the number of refreshes, their total time and their errors.
type refreshCost struct{ n, seconds, errors float64 }

func (c refreshCost) mean() float64 { return c.seconds / c.n }

func (c refreshCost) String() string {
	return fmt.Sprintf("%.0f, %.0f failed, %.0f ms", c.n, c.errors, 1000*c.mean())
}

func (p *process) refreshes(ctx context.Context, meanwhile func() error) (refreshCost, error) {
	look := func() (refreshCost, error) {
		_, body, err := p.get(ctx, "/metrics", http.Header{})
		const name = "triggerdev_waitpoint_refresh_"
		c := refreshCost{value(body, name+"duration_seconds_count"), value(body, name+"duration_seconds_sum"), 0}
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, name+"errors_total{") {
				c.errors += value(line, name)
			}
		}
		return c, err
	}
	before, err := look()
	if err != nil {
		return before, err
	}
	if err := meanwhile(); err != nil {
		return before, err
	}
	after, err := look()
	return refreshCost{after.n - before.n, after.seconds - before.seconds, after.errors - before.errors}, err
}

// scrapedByMany returns how many milliseconds each scrape took, or an error if a scrape
// or a slow client failed.
func (p *process) scrapedByMany(ctx context.Context) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	transport := &http.Transport{MaxIdleConnsPerHost: scrapers}
	defer transport.CloseIdleConnections()
	many := &process{url: p.url, http: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
	var running sync.WaitGroup
	var mu sync.Mutex
	var times []float64
	var errs []error
	for range slowClients {
		running.Go(func() {
			if err := p.readSlowly(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("slow client: %w", err))
			}
		})
	}
	start := time.Now() // The same for all, so that they scrape at the same times.
	for range scrapers {
		running.Go(func() {
			many.scrapeEachPeriod(ctx, start, func(took float64, err error) {
				mu.Lock()
				defer mu.Unlock()
				times = append(times, took)
				if err != nil {
					errs = append(errs, fmt.Errorf("scrape: %w", err))
				}
			})
		})
	}
	running.Wait()
	if len(errs) > 0 {
		return nil, fmt.Errorf("%d of %d failed, such as: %w", len(errs), len(times)+slowClients,
			errors.Join(errs[:min(len(errs), 3)]...))
	}
	return times, nil
}

// scrapeEachPeriod scrapes once each loadPeriod until ctx ends. It calls done after each
// scrape with the milliseconds that it took and its error. The last scrape may end after
// ctx.
func (p *process) scrapeEachPeriod(ctx context.Context, start time.Time, done func(took float64, err error)) {
	for next := start; ctx.Err() == nil; {
		next = next.Add(loadPeriod)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		begun := time.Now()
		code, _, err := p.get(context.WithoutCancel(ctx), "/metrics", http.Header{"Accept-Encoding": {"gzip"}})
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("answer %d", code)
		}
		done(float64(time.Since(begun).Microseconds())/1000, err)
	}
}

// readSlowly requests the metrics and reads a byte at a time until ctx ends. Its
// connection's buffer is small, so most of the answer stays with the exporter.
func (p *process) readSlowly(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // Nothing more is written to it.
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"); err != nil {
		return err
	}
	for b := make([]byte, 1); ctx.Err() == nil; time.Sleep(loadPause) {
		if _, err := conn.Read(b); err != nil {
			return err
		}
	}
	return nil
}
