// Package manager runs the environments of a configuration, each with its own
// refreshes, client and metrics. Applying another configuration changes all or
// nothing, and leaves alone the environments whose settings are the same.
// Environments with the same key and server share a rate limit.
package manager

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector"
	"waitpoint_exporter/collector/config"
	"waitpoint_exporter/collector/config/access"
	"waitpoint_exporter/collector/ratelimit"
	"waitpoint_exporter/collector/refresh"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sync/errgroup"
)

// spread is the time between the starts of two environments. It is shorter if they
// would otherwise not all start within one interval.
const spread = 200 * time.Millisecond

// keyTimeout bounds how long Apply waits for the keys of running environments, which are
// read all at once.
const keyTimeout = time.Second

// Options of a Manager.
type Options struct {
	// Registry has the metrics that belong to no environment.
	Registry *prometheus.Registry
	Logger   log.Logger
	// UserAgent is sent with every request.
	UserAgent string
	// Transport, if set, replaces the environments' own.
	Transport http.RoundTripper
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// Manager runs environments. Its methods are safe for concurrent use.
type Manager struct {
	ctx  context.Context // Its end stops the environments.
	opts Options

	applying sync.Mutex // Held by Apply and Stop.
	// In the order of the configuration; replaced, never changed.
	running atomic.Pointer[[]*running]
}

// running is an environment with its resources.
type running struct {
	config   config.Environment
	subject  *refresh.Environment
	registry *prometheus.Registry
	bucket   [sha256.Size]byte // From bucketOf, as of the last Apply.
	limit    *ratelimit.Limit
	close    func()          // Closes idle connections.
	ctx      context.Context // Ended by cancel.
	cancel   context.CancelFunc
	done     chan struct{} // Nil before the start; closed at the end.
}

// bucketOf identifies the environment's rate limit: the service has one for each, which the
// branches of a preview or dev key share. It hashes the server and the environment's key.
func bucketOf(env config.Environment, key string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.TrimRight(env.APIURL, "/") + " " + key))
}

// New returns a Manager without environments. Its environments stop when ctx ends. Stop
// also stops them, and waits for them.
func New(ctx context.Context, opts Options) *Manager {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	m := &Manager{ctx: ctx, opts: opts}
	m.running.Store(&[]*running{})
	return m
}

// Apply replaces the environments. On an error nothing changes. An environment whose
// settings are the same keeps its snapshot, its counters and its refreshes. The others
// stop before new ones start.
func (m *Manager) Apply(environments []config.Environment) error {
	m.applying.Lock()
	defer m.applying.Unlock()
	old := *m.running.Load()
	next, err := m.prepare(old, environments)
	if err != nil {
		return err
	}
	// The series of removed environments disappear before the environments stop.
	m.running.Store(&next)
	stop(slices.DeleteFunc(slices.Clone(old), func(r *running) bool { return slices.Contains(next, r) }))
	started := 0
	for _, r := range next {
		if r.done == nil {
			m.start(r, time.Duration(started)*min(spread, r.config.Refresh.Interval/time.Duration(len(next))))
			started++
		}
	}
	return nil
}

// prepare returns an environment for each configuration: the one in old with the same
// settings, or a new one that has not started.
func (m *Manager) prepare(old []*running, environments []config.Environment) ([]*running, error) {
	var reads errgroup.Group
	for _, r := range old {
		reads.Go(func() error {
			key, err := r.config.Key.Source(m.ctx, keyTimeout)()
			if err == nil {
				r.bucket = bucketOf(r.config, key) // The key may have been replaced.
			}
			return nil
		})
	}
	_ = reads.Wait() // It has no errors.
	next := make([]*running, 0, len(environments))
	for _, env := range environments {
		if i := slices.IndexFunc(old, func(r *running) bool { return r.config.Equal(env) }); i >= 0 {
			next = append(next, old[i])
			continue
		}
		r, err := m.build(env, slices.Concat(old, next))
		if err != nil {
			for _, r := range next {
				if r.done == nil {
					r.cancel()
				}
			}
			return nil, fmt.Errorf("environment %s: %w", env.Title(), err)
		}
		next = append(next, r)
	}
	return next, nil
}

// build makes one environment, not yet started. It has its own registry, since only
// some environments have the label project, and shares the rate limit of other
// environments with the same bucket.
func (m *Manager) build(env config.Environment, others []*running) (*running, error) {
	transport := m.opts.Transport
	if transport == nil {
		var err error
		if transport, err = access.Transport(m.ctx, env.HTTP); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(m.ctx)
	key, registry := env.Key.Source(ctx, env.Refresh.Timeout), prometheus.NewRegistry()
	current, err := key()
	if err != nil {
		current = env.Key.File // There is no key yet.
	}
	r := &running{
		config: env, registry: registry, bucket: bucketOf(env, current), limit: ratelimit.New(m.opts.Now), ctx: ctx,
		cancel: cancel, close: (&http.Client{Transport: transport}).CloseIdleConnections,
	}
	for _, other := range others {
		if other.bucket == r.bucket {
			r.limit = other.limit
		}
	}
	metrics := refresh.NewMetrics(registry, collector.Labels(env.Name, env.Project))
	api, err := client.New(client.Options{
		APIURL: env.APIURL, Key: key, PreviewBranch: env.PreviewBranch, Transport: transport,
		Timeout: env.Refresh.Timeout, Observe: metrics.Attempt, UserAgent: m.opts.UserAgent, Now: m.opts.Now,
		Limiter: r.limit.Limiter(ratelimit.Options{
			Reserve: env.API.Reserve, Share: env.API.Share, Interval: env.Refresh.Interval,
		}),
	})
	if err != nil {
		cancel()
		return nil, err
	}
	logger := log.With(m.opts.Logger, "environment", env.Name)
	if env.Project != "" {
		logger = log.With(logger, "project", env.Project)
	}
	r.subject = refresh.New(api, refresh.Options{
		Interval:            env.Refresh.Interval,
		MaxStaleness:        env.Refresh.Staleness(),
		VerifyInterval:      env.Refresh.VerifyInterval,
		Concurrency:         env.API.Concurrency,
		Period:              env.Tokens.Period,
		WaitingWithinPeriod: env.Tokens.WaitingWithinPeriod,
		Tags:                env.Tags,
		ExpectedWait:        env.Tokens.ExpectedWait,
		Metrics:             metrics,
		Logger:              logger,
		Now:                 m.opts.Now,
	})
	registry.MustRegister(collector.New(r.subject, collector.Options{
		Environment:  env.Name,
		Project:      env.Project,
		NearTimeout:  thresholds(env.Tokens.NearTimeout),
		StuckAfter:   thresholds(env.Tokens.StuckAfter),
		Period:       env.Tokens.Period,
		MaxStaleness: env.Refresh.Staleness(),
		Now:          m.opts.Now,
	}))
	return r, nil
}

func thresholds(list []config.Threshold) []collector.Threshold {
	var out []collector.Threshold
	for _, t := range list {
		out = append(out, collector.Threshold{Label: t.Text, Value: t.Duration})
	}
	return out
}

func (m *Manager) start(r *running, after time.Duration) {
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		defer r.close()
		select {
		case <-r.ctx.Done():
		case <-time.After(after):
			_ = r.subject.Run(r.ctx) // The error is ctx's.
		}
	}()
	level.Debug(m.opts.Logger).Log("msg", "environment added", "environment", r.config.Title())
}

// stop stops environments and waits for them.
func stop(list []*running) {
	for _, r := range list {
		r.cancel()
	}
	for _, r := range list {
		<-r.done
	}
}

// Stop stops all environments. Their last snapshots stay visible.
func (m *Manager) Stop() {
	m.applying.Lock()
	defer m.applying.Unlock()
	stop(*m.running.Load())
}

// Environments returns the environments for the pages, in the order of the
// configuration.
func (m *Manager) Environments() []refresh.View {
	list := *m.running.Load()
	out := make([]refresh.View, len(list))
	for i, r := range list {
		out[i] = refresh.View{
			Name: r.config.Name, Project: r.config.Project, Source: r.subject,
			MaxStaleness: r.config.Refresh.Staleness(),
			DashboardURL: r.config.DashboardURL,
		}
		if n := len(r.config.Tokens.StuckAfter); n > 0 {
			out[i].Stuck = r.config.Tokens.StuckAfter[n-1].Text
		}
	}
	return out
}

// Gather implements prometheus.Gatherer. Each registry checks its own metrics, and no
// two share a series, because environment or project differ. So Gather merges the
// families without checking each series again, as prometheus.Gatherers would: that
// halves the cost of a scrape of many environments.
func (m *Manager) Gather() ([]*dto.MetricFamily, error) {
	registries := []*prometheus.Registry{m.opts.Registry}
	for _, r := range *m.running.Load() {
		registries = append(registries, r.registry)
	}
	gathered, errs := make([][]*dto.MetricFamily, len(registries)), make([]error, len(registries))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, registry := range registries {
		group.Go(func() error {
			gathered[i], errs[i] = registry.Gather()
			return nil
		})
	}
	_ = group.Wait() // Errors are in errs. A registry may return families and an error.
	byName := map[string]*dto.MetricFamily{}
	for _, families := range gathered {
		for _, f := range families {
			if whole := byName[f.GetName()]; whole != nil {
				whole.Metric = append(whole.Metric, f.GetMetric()...)
			} else {
				byName[f.GetName()] = f
			}
		}
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b *dto.MetricFamily) int {
		return cmp.Compare(a.GetName(), b.GetName())
	}), errors.Join(errs...)
}
