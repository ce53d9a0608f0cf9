package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"waitpoint_exporter/client/simulator"
)

const (
	simulateCommand = "simulate"
	key             = "tr_prod_bench"
	statsPath       = "/stats"
)

// A service describes the simulated service.
type service struct {
	environments    int // Zero: one.
	tokens, waiting int
	latency         time.Duration
	unlimited       bool
	// The number of tokens created per second after the start.
	perSecond float64
}

func (s service) args() []string {
	return []string{
		simulateCommand, "-environments", strconv.Itoa(max(1, s.environments)), "-tokens", strconv.Itoa(s.tokens),
		"-waiting", strconv.Itoa(s.waiting), "-latency", s.latency.String(),
		"-unlimited=" + strconv.FormatBool(s.unlimited), "-per-second", fmt.Sprint(s.perSecond),
	}
}

// stats are the counts of the simulated service for its first environment.
type stats struct {
	Requests, Refused int
	// Started is the time from which on the rate limit's bucket is refilled every ten
	// seconds.
	Started time.Time
}

// simulate runs the simulated service. It prints its address and serves until its
// standard input ends, so that it never outlives its parent.
func simulate(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	var s service
	flags := flag.NewFlagSet(simulateCommand, flag.ContinueOnError)
	flags.IntVar(&s.environments, "environments", 1, "")
	flags.IntVar(&s.tokens, "tokens", 0, "")
	flags.IntVar(&s.waiting, "waiting", 0, "")
	flags.DurationVar(&s.latency, "latency", 0, "")
	flags.BoolVar(&s.unlimited, "unlimited", false, "")
	flags.Float64Var(&s.perSecond, "per-second", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	api := simulator.New(simulator.Options{Seed: 1, Latency: s.latency})
	var limit simulator.Limit
	if s.unlimited {
		// The exporter ignores a larger limit as garbled.
		limit = simulator.Limit{Size: 100_000_000, Refill: 100_000_000}
	}
	started := time.Now()
	all := make([]*simulator.Environment, s.environments)
	for i := range all {
		all[i] = api.Environment(simulator.EnvironmentOptions{Key: keyOf(i), Limit: limit})
		all[i].Populate(simulator.Population{Seed: uint64(i), Tokens: s.tokens, Waiting: s.waiting, Tags: tags})
		if s.perSecond > 0 {
			all[i].Live(simulator.Rates{Seed: uint64(i), PerSecond: s.perSecond, MeanWait: time.Minute})
		}
	}
	first := all[0]
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.HandleFunc(statsPath, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(stats{first.Count(), first.Refused(), started})
	})
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "http://%s\n", listener.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(stdin).ReadByte()
		close(ended)
	}()
	go func() {
		select {
		case <-ctx.Done():
		case <-ended:
		}
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// keyOf returns the key of the i-th environment.
func keyOf(i int) string {
	if i == 0 {
		return key
	}
	return key + strconv.Itoa(i)
}

// tags returns tags out of two hundred, so that a hundred have series and the rest are
// folded.
func tags(rng *rand.Rand) []string {
	out := []string{fmt.Sprintf("team:%d", rng.IntN(20))}
	if rng.IntN(2) == 0 {
		out = append(out, fmt.Sprintf("flow:%d", rng.IntN(180)))
	}
	return out
}
