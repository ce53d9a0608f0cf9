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

// A service says how the simulated one is to be.
type service struct {
	tokens, waiting int
	latency         time.Duration
	unlimited       bool
	// PerSecond is how many tokens are created in a second from now on.
	perSecond float64
}

func (s service) args() []string {
	return []string{
		simulateCommand, "-tokens", strconv.Itoa(s.tokens), "-waiting", strconv.Itoa(s.waiting), "-latency", s.latency.String(),
		"-unlimited=" + strconv.FormatBool(s.unlimited), "-per-second", fmt.Sprint(s.perSecond),
	}
}

// stats are what the simulated service has counted.
type stats struct {
	Requests, Refused int
	// Started is when the rate limit's bucket was first full; it is refilled
	// every ten seconds from then on.
	Started time.Time
}

// simulate is the process of the simulated service. It prints its address and
// serves until its standard input ends, so that it never outlives its parent.
func simulate(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	var s service
	flags := flag.NewFlagSet(simulateCommand, flag.ContinueOnError)
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
		limit = simulator.Limit{Size: 1 << 30, Refill: 1 << 30}
	}
	environment := api.Environment(simulator.EnvironmentOptions{Key: key, Limit: limit})
	started := time.Now()
	environment.Populate(simulator.Population{Seed: 1, Tokens: s.tokens, Waiting: s.waiting, Tags: tags})
	if s.perSecond > 0 {
		environment.Live(simulator.Rates{Seed: 1, PerSecond: s.perSecond, MeanWait: time.Minute})
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.HandleFunc(statsPath, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(stats{environment.Count(), environment.Refused(), started})
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

// tags are two hundred in all, so that a hundred have series and the rest fold.
func tags(rng *rand.Rand) []string {
	out := []string{fmt.Sprintf("team:%d", rng.IntN(20))}
	if rng.IntN(2) == 0 {
		out = append(out, fmt.Sprintf("flow:%d", rng.IntN(180)))
	}
	return out
}
