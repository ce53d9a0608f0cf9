// Bench measures the cost of the exporter and prints one table. All figures are from
// one run on one machine against the same simulated service. The service, the exporter
// and its peer are separate processes. The peer is the script that one would write by
// hand with the official SDK and prom-client (peer/).
//
//	go run ./test/bench [-run REGEX]
//
// Besides Go it needs Linux, to read CPU time and peak memory from /proc, and Node.js
// with npm for the peer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == simulateCommand {
		return simulate(ctx, args[1:], stdin, stdout)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("run", "", "regular expression of the works to run; all by default")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	chosen, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	b, err := prepare(ctx, stderr)
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir) //nolint:errcheck // A leftover temporary directory does no harm.
	var table []row
	for _, w := range works() {
		if !chosen.MatchString(w.name) {
			continue
		}
		begun := time.Now()
		rows, err := w.run(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		table = append(table, rows...)
		fmt.Fprintf(stderr, "%s: %s\n", w.name, time.Since(begun).Round(time.Second))
	}
	return write(stdout, table)
}

// bench contains the data that the works share.
type bench struct {
	dir                  string
	self, exporter, peer string
	stderr               io.Writer
}

// prepare builds the exporter and installs the peer's packages as locked.
func prepare(ctx context.Context, stderr io.Writer) (*bench, error) {
	module, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return nil, err
	}
	root := strings.TrimSpace(module)
	dir, err := os.MkdirTemp("", "waitpoint_exporter-bench")
	if err != nil {
		return nil, err
	}
	b := &bench{
		dir: dir, exporter: filepath.Join(dir, "waitpoint_exporter"),
		peer: filepath.Join(root, "test", "bench", "peer"), stderr: stderr,
	}
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	// Built like a release.
	if _, err := output(ctx, root, "make", "-s", "build", "OUTPUT="+b.exporter); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(b.peer, "node_modules")); err != nil {
		if _, err := output(ctx, b.peer, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}

// A row of the table has the work, the exporter's figure, the figure that it is
// compared with, and the ratio.
type row struct{ work, figure, against, ratio string }

func write(w io.Writer, table []row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(tw, "| work\t| exporter\t| beside\t| ratio\t|")
	fmt.Fprintln(tw, "|---\t|---\t|---\t|---\t|")
	for _, r := range table {
		fmt.Fprintf(tw, "| %s\t| %s\t| %s\t| %s\t|\n", r.work, r.figure, r.against, r.ratio)
	}
	return tw.Flush()
}
