// Breaks the code on purpose, one place after the other, in a copy of the
// checkout, and tells whether a test noticed. Run from the root:
//
//	go run .ci/mutate.go [-run REGEXP] [-check]
//
// It fails if a break went unnoticed, or if a place to break is no longer found
// once: then the list below has to follow the code. -check only looks for the
// places.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A mutation replaces old, which stands in the file once, by new. Tests are the
// packages that should notice, separated by spaces.
type mutation struct{ what, file, old, new, tests string }

const (
	clientTests  = "./client"
	indexTests   = "./collector/index"
	refreshTests = "./collector/refresh ./collector"
	limitTests   = "./collector/ratelimit"
	pageTests    = "./collector/web"
)

var mutations = []mutation{
	{"what follows an answer is not looked at", "client/decode.go", "; !errors.Is(err, io.EOF) {", "; err != nil && false {", clientTests},
	{"a token without createdAt passes", "client/decode.go", "case t.CreatedAt.IsZero():", "case false:", clientTests},
	{"a cursor that comes again is followed for ever", "client/pager.go", `case next != "" && repeats:`, "case false && repeats:", clientTests},
	{"a full page without pagination passes for the last", "client/pager.go", "case !a.page.paginated && len(a.page.tokens) >= p.options.pageSize():", "case false:", clientTests},
	{"a filter that the service ignores is believed", "client/pager.go", "return len(p.options.Statuses) == 0 || slices.Contains(p.options.Statuses, s)", "return true", clientTests},
	{"a failed page moves the walk on", "client/pager.go", "\tif err != nil {\n\t\treturn Page{}, fmt.Errorf(\"list tokens, page %d: %w\", p.pages+1, err)", "\tif err != nil {\n\t\tp.done = true\n\t\treturn Page{}, fmt.Errorf(\"list tokens, page %d: %w\", p.pages+1, err)", clientTests},
	{"the reset is read as seconds", "client/ratelimit.go", "reset := time.UnixMilli(ms).UTC()", "reset := time.Unix(ms, 0).UTC()", clientTests},
	{"what is refused for good is sent again", "client/retry.go", "\t}\n\treturn false\n}\n\n// retryWait", "\t}\n\treturn true\n}\n\n// retryWait", clientTests},
	{"the wait between attempts does not grow", "client/retry.go", "backoffBase<<(n-1)", "backoffBase<<0", clientTests},
	{"a redirect takes the key to another host", "client/redirect.go", "foreign := to.User != nil || origin(to) != origin(&c.url)", "foreign := to.User != nil", clientTests},
	{"a redirect that drops the question is followed", "client/redirect.go", "\tcase to.RawQuery != from.RawQuery:", "\tcase false:", clientTests},
	{"a body has no bound", "client/response.go", "if b.left -= n; b.left < 0 {", "if b.left -= n; false {", clientTests},
	{"a page may have any number of tokens", "client/decode.go", "if len(tokens) == maxTokens {", "if false {", clientTests},
	{"a token may have any number of tags", "client/decode.go", "if len(list) == maxTags {", "if false {", clientTests},
	{"a tag may have any length", "client/decode.go", "if err == nil && len(b) > maxTag {", "if false {", clientTests},
	{"an id may have any length", "client/decode.go", "if err == nil && len(b) > most {", "if false {", clientTests},
	{"a walk may have any number of pages", "client/pager.go", "if p.pages >= maxPages {", "if false {", clientTests},
	{"headers may have the size that net/http allows", "client/client.go", "MaxResponseHeaderBytes: 64 << 10,", "", clientTests},
	{"another protocol is waited for", "client/response.go", "case resp.StatusCode == http.StatusSwitchingProtocols:", "case false:", clientTests},
	{"a wait that is asked for overflows", "client/retry.go", "min(asked, maxWait)", "asked", clientTests},
	{"the service's words are quoted with the secrets in them", "client/response.go", "e.Message = redact(words, r.secrets()...)", "e.Message = words", clientTests},
	{"branches of one key have a bucket each", "client/simulator/simulator.go", "return of.opts.Key == opts.Key", "return false", "./client/simulator"},
	{"an expired key opens", "client/simulator/key.go", "k.ExpiresAt.After(s.now())", "true", "./client/simulator"},
	{"a NUL does not break the database", "client/simulator/query.go", "strings.Contains(s, \"\\x00\")", "false", "./client/simulator"},
	{"a token that a replica does not have yet has left", "collector/index/waiting.go", "if !h.left && h.sure {", "if !h.left {", indexTests + " ./collector/refresh"},
	{"what one look lacked has left at once", "collector/index/waiting.go", "h.sure = h.sure || x.everywhere(h, at)", "h.sure = h.sure || x.everywhere(h, at)\n\t\tx.Settle(at)", indexTests},
	{"absence counts though a replica is behind", "collector/index/waiting.go", "x.behind.IsZero() || at.Sub(x.behind) > trustAfter", "true", indexTests},
	{"what came back is counted again", "collector/index/waiting.go", "x.past[x.identify(h.token)] = past{status: waitingStatus, until: at.Add(tombstone)}", "", indexTests},
	{"what the window let go of is counted again", "collector/index/index.go", "\t\tx.remember(key, at)\n", "", indexTests},
	{"one turn is enough to drop a finished token", "collector/index/turn.go", "x.turn-e.turn >= 2", "x.turn-e.turn >= 1", indexTests},
	{"the verify walk finds nothing deleted", "collector/index/turn.go", "x.turn-e.turn >= 2", "false", indexTests},
	{"bytes of what has gone still count", "collector/index/waiting.go", "\tx.size -= h.token.size()\n\tif h.outside {", "\tif h.outside {", indexTests},
	{"a deleted token is looked up for ever", "collector/refresh/tasks.go", "case !shown:\n", "case false:\n", refreshTests},
	{"tokens of any size are held", "collector/refresh/environment.go", " && size < bytes", "", refreshTests},
	{"the history is split down to single tokens", "collector/refresh/tasks.go", "remaining(p, from)/16 > max(p.span, time.Millisecond)", "remaining(p, from) > time.Millisecond", refreshTests},
	{"an outage meets all workers", "collector/refresh/scheduler.go", "if e.careful || e.round.err != nil {", "if false {", refreshTests},
	{"one page that lacks everything is believed", "collector/refresh/take.go", "if len(missing) > 0 && shown == 0 || len(missing) > max(10, shown/2) {", "if false {", refreshTests},
	{"a gap passes for known", "collector/refresh/list.go", "rest.gap = s.tail || rest.listed.IsZero() || lo > rest.known", "rest.gap = rest.listed.IsZero()", refreshTests},
	{"the newest are looked for without regard to lag", "collector/refresh/environment.go", "e.slack, e.unplaced, e.missed = lag,", "e.slack, e.unplaced, e.missed = 0,", refreshTests},
	{"a status is logged as it comes", "collector/refresh/take.go", "textForLog(string(s))", "string(s)", refreshTests},
	{"a replica that lags brings finished tokens back", "collector/index/index.go", "if old, ok := x.finished.Get(key); ok {", "if old, ok := x.finished.Get(key); ok && false {", indexTests},
	{"the window leaves out its first millisecond", "collector/index/window.go", "created >= max(x.cutoff, ceilMilli(now.Add(-x.opts.Period)))", "created > max(x.cutoff, ceilMilli(now.Add(-x.opts.Period)))", indexTests + " ./collector/refresh"},
	{"the clock takes the window back", "collector/index/window.go", "created >= max(x.cutoff, ceilMilli(now.Add(-x.opts.Period)))", "created >= ceilMilli(now.Add(-x.opts.Period))", indexTests},
	{"a suspended machine's snapshot is new", "collector/index/snapshot.go", "max(now.Sub(s.At), wall(now).Sub(wall(s.At)), 0)", "now.Sub(s.At)", "./collector/manager"},
	{"a clock that is set back makes snapshots young", "collector/index/snapshot.go", "max(now.Sub(s.At), wall(now).Sub(wall(s.At)), 0)", "max(wall(now).Sub(wall(s.At)), 0)", "./collector/manager"},
	{"a clock that is set back goes unnoticed", "collector/refresh/environment.go", "if e.index.ClockSetBack(start) {", "if false {", "./collector/manager"},
	{"near timeout leaves out its last millisecond", "collector/index/group.go", "floorMilli(now.Add(within))+1", "floorMilli(now.Add(within))", indexTests},
	{"what is overdue is near its timeout, too", "collector/index/group.go", "from, to := ceilMilli(now), ", "from, to := int64(none+1), ", indexTests},
	{"stuck counts the moment itself", "collector/index/group.go", "countBelow(g.created, ceilMilli(now.Add(-after)))", "countBelow(g.created, ceilMilli(now.Add(-after))+1)", indexTests},
	{"the window does not move between refreshes", "collector/index/cut.go", "now.Add(c.x.opts.Horizon - period)", "now.Add(-period)", indexTests + " ./collector/refresh"},
	{"a tag's number is never used again", "collector/index/sets.go", "name.sets--; name.sets == 0", "name.sets--; name.sets < 0", indexTests},
	{"tags with the fewest tokens have the series", "collector/index/fold.go", "cmp.Compare(b.waiting, a.waiting)", "cmp.Compare(a.waiting, b.waiting)", indexTests},
	{"a token counts twice where two of its tags are folded", "collector/index/cut.go", "\t\t} else {\n\t\t\tfolded = true\n\t\t}", "\t\t} else if c.other != nil {\n\t\t\tyield(c.other)\n\t\t} else {\n\t\t\tfolded = true\n\t\t}", indexTests},
	{"the last rule says how long a token may wait", "collector/index/late.go", "for _, rule := range o.ExpectedWait {", "for _, rule := range slices.Backward(o.ExpectedWait) {", indexTests},
	{"late counts the moment itself", "collector/index/late.go", "n := countBelow(g.late.sorted, limit)", "n := countBelow(g.late.sorted, limit+1)", indexTests},
	{"ignored tokens are listed", "collector/index/cut.go", "if h.set != ignoredSet {", "if true {", indexTests},
	{"ignored tokens count as created", "collector/index/counted.go", "func (x *Index) startsCount(t *client.Token) bool {\n\tif !x.opts.Tags.Counts(t.Tags) {", "func (x *Index) startsCount(t *client.Token) bool {\n\tif false {", indexTests},
	{"what was folded counts again under the tag's own series", "collector/index/flow.go", "\t\t\tdelete(x.flow.created, label)\n", "", indexTests},
	{"histograms of tags that have gone stay", "collector/index/flow.go", "x.flow.gone = append(x.flow.gone, label)", "", indexTests},
	{"a failed refresh counts as the last that succeeded", "collector/refresh/environment.go", "\t} else {\n\t\ts.LastRefresh = at\n\t}", "\t}\n\ts.LastRefresh = at", refreshTests + " ./collector/web ."},
	{"nothing of the rate limit is left to others", "collector/ratelimit/bucket.go", "int(math.Ceil(reserve*float64(b.size())))", "0*int(math.Ceil(reserve*float64(b.size())))", limitTests},
	{"answers out of order raise what remains", "collector/ratelimit/bucket.go", "remaining = min(remaining, b.remaining)", "_ = 0", limitTests},
	{"a service whose clock was set back is never believed", "collector/ratelimit/bucket.go", "!sent.Before(b.probeAt)\n\tremaining", "false\n\tremaining", limitTests},
	{"our clock is taken for the service's", "collector/ratelimit/bucket.go", "b.offset = a.Date.Sub(now)", "_ = now", limitTests},
	{"one answer without headers makes the limiter blind", "collector/ratelimit/bucket.go", "b.silent >= lastingAnswers && now.Sub(b.silentSince) >= lastingTime", "b.silent >= 1", limitTests},
	{"no answers without headers make it blind", "collector/ratelimit/bucket.go", "b.silent >= lastingAnswers && now.Sub(b.silentSince) >= lastingTime", "false", limitTests},
	{"a request without a report draws nothing", "collector/ratelimit/bucket.go", "\tb.remaining--\n", "", limitTests},
	{"a request without a report is forgotten with the next report", "collector/ratelimit/bucket.go", "\t\t\tremaining-- // It may have drawn after the report was made.\n", "", limitTests},
	{"a lower limit counts at once", "collector/ratelimit/bucket.go", "slices.Max(b.sizes[:])", "b.sizes[(b.sizeReports-1)%lastingAnswers]", limitTests},
	{"a time is taken for a limit", "collector/ratelimit/bucket.go", " && r.Limit <= maxSize", "", limitTests},
	{"a time is taken for what remains", "collector/ratelimit/bucket.go", "r.Remaining <= most", "most >= 0", limitTests},
	{"after a reset requests go until one is answered", "collector/ratelimit/bucket.go", "\t\tb.probeAt = now.Add(defaultStep)\n\t}\n\tif status", "\t}\n\tif status", limitTests},
	{"a reset that is past counts", "collector/ratelimit/bucket.go", "if wait <= 0 {", "if false {", limitTests},
	{"after a refill everybody asks at once", "collector/ratelimit/bucket.go", "\tcase inFlight > 0:\n", "\tcase false:\n", limitTests},
	{"a refusal holds for as long as it says", "collector/ratelimit/bucket.go", "min(max(a.RetryAfter, time.Second), maxPause)", "max(a.RetryAfter, time.Second)", limitTests},
	{"an earlier request ends a pause", "collector/ratelimit/bucket.go", "\tcase now.Before(b.pause):\n", "\tcase false:\n", limitTests},
	{"refreshes know no share", "collector/ratelimit/limiter.go", "w.beyondShare || w.opts.Share == 0", "true", limitTests},
	{"a load is bound by the share", "collector/ratelimit/limiter.go", "w.beyondShare || w.opts.Share == 0", "w.opts.Share == 0", limitTests},
	{"nothing can be saved up", "collector/ratelimit/limiter.go", "l.limit.credit.SetBurstAt(now, burst)", "l.limit.credit.SetBurstAt(now, min(burst, minCredit))", limitTests},
	{"a request that gives up keeps its turn", "collector/ratelimit/limiter.go", "w.turn.CancelAt(l.limit.now())", "_ = w.turn", limitTests},
	{"a slow refill is taken for a usual one", "collector/ratelimit/refill.go", "if f.n >= minSamples {", "if false {", limitTests},
	{"a full bucket shows a slow refill", "collector/ratelimit/refill.go", "full := r.Limit-r.Remaining-1 < max(rise/2, r.Limit/8)", "full := false", limitTests},
	{"a minute is taken for the usual step", "collector/ratelimit/refill.go", "max(step, fillTime)", "fillTime", limitTests},
	{"any gap shows a slow refill", "collector/ratelimit/refill.go", "silence.Seconds()*share*current <= 2", "true", limitTests},
	{"a late answer shows a refill", "collector/ratelimit/bucket.go", "!sent.Before(b.probeAt)\n\tremaining", "!now.Before(b.probeAt)\n\tremaining", limitTests},
	{"environments with one key have a limit each", "collector/manager/manager.go", "if other.bucket == r.bucket {", "if false {", "./collector/manager"},
	{"one header that makes no sense voids the others", "client/ratelimit.go", "r := RateLimit{Remaining: -1}\n", "r := RateLimit{Remaining: -1}\n\tif _, err := strconv.Atoi(h.Get(\"X-Ratelimit-Reset\")); err != nil {\n\t\treturn RateLimit{}\n\t}\n", clientTests},
	{"a reset in another unit is believed", "client/ratelimit.go", "reset.Sub(now).Abs() <= furthestReset", "true", clientTests},
	{"any number of tokens is held", "collector/refresh/environment.go", "e.index.Len() < tokens && ", "", refreshTests},
	{"systemd is told that it is ready before it listens", "collector/server/run.go", "server.onListening = func() { notify(daemon.SdNotifyReady, logger) }", "notify(daemon.SdNotifyReady, logger)", "."},
	{"systemd is not told of the end", "collector/server/run.go", "notify(daemon.SdNotifyStopping, logger)", "_ = daemon.SdNotifyStopping", "."},
	{"what once filled the index stays", "collector/refresh/environment.go", "start.Sub(e.filled) >= e.opts.VerifyInterval {", "false {", refreshTests},
	{"a history too long leaves no room", "collector/refresh/environment.go", "loadTenths = 9", "loadTenths = 10", refreshTests},
	{"tags take no bytes", "collector/index/sets.go", "t.size += t.names[id].size()", "", indexTests},
	{"pages stay in the decoder's buffer", "client/workspace.go", "\tclear(p)\n", "", clientTests},
	{"pages stay in what decompression remembers", "client/workspace.go", "_, _ = io.Copy(io.Discard, &w.zip)", "", clientTests},
	{"answers stay as text in the buffers of connections", "client/request.go", "req.Header.Set(\"Accept-Encoding\", \"gzip\")", "", clientTests + " ."},
	{"a gateway's refusal is blamed on the key", "client/response.go", "words := c.readMessage(resp); words != \"\"", "words := c.readMessage(resp); true", clientTests},
	{"a sign-in page is a redirect like others", "client/redirect.go", "signIn.MatchString(to.Hostname()+to.Path)", "false", clientTests},
	{"what a server sends unasked is logged", "main.go", "stdlog.SetOutput(io.Discard)", "stdlog.SetOutput(os.Stderr)", "."},
	{"two families of OpenMetrics have one name", "registry.go", "c.hidden[d] = true", "c.hidden[d] = false", "."},
	{"the metrics' path may be one that panics", "collector/server/flags.go", "path.Clean(p) == p", "path.Clean(p) != \"\"", "."},
	{"a label's value need not be UTF-8", "collector/config/notation/notation.go", "if !utf8.ValidString(text) {", "if !utf8.ValidString(text) && false {", "./collector/config/..."},
	{"a replacement names a group that is not there", "collector/config/notation/notation.go", "err = checkReplacement(rule.Replacement, rule.Match)", "err = nil", "./collector/config/..."},
	{"a variable in a file becomes a label", "collector/config/yamlfile/yamlfile.go", "if m := variable.FindStringSubmatch(text); m != nil {", "if m := variable.FindStringSubmatch(text); m != nil && false {", "./collector/config"},
	{"what is merged counts more than the mapping itself", "collector/config/yamlfile/yamlfile.go", "if !seen[pair[0].Value] {", "if true {", "./collector/config/..."},
	{"an option of TLS switches the environment's proxy off", "collector/config/access/transport.go", "transport.Proxy, transport.ProxyConnectHeader = cfg.Proxy(), cfg.GetProxyConnectHeader()", "transport.Proxy = nil", "./collector/config"},
	{"a variable's white space counts", "collector/config/flags.go", "strings.TrimSpace(getenv(s.variable))", "getenv(s.variable)", "./collector/config"},
	{"wrong usage ends like another failure", "main.go", "exitUsage   = 2", "exitUsage   = 1", "."},
	{"a broken exporter is healthy", "collector/server/health.go", "if answer.StatusCode != http.StatusOK && ", "if false && ", "./collector/server"},
	{"a library's lines have a time of their own", "collector/logging/logging.go", "r.Time = time.Time{}", "_ = time.Time{}", "./collector/logging"},
	{"a file that blocks is waited for", "collector/config/access/blocking.go", "\tcase <-ctx.Done():\n\t\treturn nil, fmt.Errorf(\"read %s: %w\", path, context.Cause(ctx))\n", "", "./collector/config ./collector/manager"},
	{"each try leaves a read behind", "collector/config/access/blocking.go", "if begun := r.under[path]; begun != nil {", "if begun := r.under[path]; begun != nil && false {", "./collector/config"},
	{"a pipe that delivers once is read for ever", "collector/config/access/blocking.go", "r.kept[path] = content", "_ = content", "./collector/config"},
	{"a reload that blocks holds up the end", "collector/manager/reload.go", "\tcase <-ctx.Done():\n\t\treturn nil, ctx.Err()\n", "", "./collector/manager"},
	{"an old snapshot is shown as new", "collector/collector.go", "!s.Fresh(now, c.opts.MaxStaleness)", "false", "./collector"},
	{"JSON turns a terminal's text round", "collector/web/tokens.go", "if r < 0x7f || unicode.IsPrint(r) {", "if true || unicode.IsPrint(r) {", pageTests},
	{"a page's links leave the prefix of a proxy", "collector/web/layout.html", "href=\"{{.Up}}runbook\"", "href=\"/runbook\"", "."},
	{"a spreadsheet runs what is in a tag", "collector/web/tokenscsv.go", "row[i] = plain(row[i])", "_ = plain(row[i])", pageTests},
	{"part of the tokens passes for all in a CSV", "collector/web/tokens.go", "len(l.unknown()) > 0", "len(l.unknown()) < 0", pageTests},
	{"a page reloads itself all the time", "collector/web/query.go", "n < shortestRefresh", "n < 0", pageTests},
	{"an id leads out of its place in the dashboard", "collector/web/list.go", "url.PathEscape(e.ID)", "url.PathEscape(\"\")+e.ID", pageTests},
	{"the last page by timeout begins anywhere", "collector/web/list.go", "c.bound = c.kept[0].place()", "c.bound = c.kept[len(c.kept)-1].place()", pageTests},
	{"finished tokens are counted before they are known", "collector/collector.go", "if !s.Loaded {\n\t\tstatuses", "if false {\n\t\tstatuses", "./collector"},
	{"series of the snapshot before are shown", "collector/collector.go", "if plan == nil || plan.snapshot != s {", "if plan == nil {", "./collector"},
	{"timestamps are in milliseconds", "collector/collector.go", "float64(t.UnixMilli()) / 1000", "float64(t.UnixMilli())", "./collector"},
	{"an answer that was begun before a request came is shared", "collector/server/buffer.go", "b.waiting.Forget(key)", "_ = key", "./collector/server"},
	{"an answer is shared with those who read no gzip", "collector/server/buffer.go", "strings.Join(r.Header[\"Accept-Encoding\"], \",\"),", "\"\",", "./collector/server"},
	{"requests for the metrics are held without bound", "collector/server/buffer.go", "NewWeighted(maxHeld),", "NewWeighted(1 << 40),", "./collector/server"},
	{"the memory of an answer that was sent stays taken", "collector/server/buffer.go", "defer b.memory.Release(size)", "_ = size", "./collector/server"},
	{"a request that was taken up is dropped at the end", "collector/server/server.go", "for s.anyBusy() && ctx", "for false && ctx", "./collector/server"},
	{"a client that reads slowly keeps its connection", "collector/server/server.go", "WriteTimeout: time.Minute", "WriteTimeout: 0", "./collector/server"},
}

func main() {
	run := flag.String("run", "", "only those whose description matches")
	check := flag.Bool("check", false, "look for the places only")
	flag.Parse()
	if err := mutate(regexp.MustCompile(*run), *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func mutate(only *regexp.Regexp, check bool) error {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if out, err := command(".", "git", "clone", "-q", ".", dir); err != nil {
		return fmt.Errorf("copy what is committed: %w: %s", err, out)
	}
	caught, missed := 0, 0
	for _, m := range mutations {
		if !only.MatchString(m.what) {
			continue
		}
		start := time.Now()
		verdict, err := try(dir, m, check)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", m.file, m.what, err)
		}
		if verdict == "" {
			verdict = "NOT CAUGHT"
			missed++
		} else {
			caught++
		}
		fmt.Printf("%-38s %-60s %s (%s)\n", m.file, m.what, verdict, time.Since(start).Round(time.Second))
	}
	if check {
		fmt.Printf("%d places found\n", caught)
		return nil
	}
	fmt.Printf("%d caught, %d not\n", caught, missed)
	if missed > 0 {
		return fmt.Errorf("%d mutations went unnoticed", missed)
	}
	return nil
}

// try returns the first test that noticed, or "" for none.
func try(dir string, m mutation, check bool) (string, error) {
	path := filepath.Join(dir, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("%q stands there %d times, want once", m.old, n)
	}
	if check {
		return "found", nil
	}
	broken := strings.Replace(string(text), m.old, m.new, 1)
	if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
		return "", err
	}
	defer os.WriteFile(path, text, 0o600)
	if out, err := command(dir, "go", "build", "./..."); err != nil {
		return "", fmt.Errorf("broken, it does not compile: %s", out)
	}
	// A test that hangs on what is broken has noticed, too.
	args := append([]string{"test", "-short", "-count=1", "-failfast", "-timeout=3m"}, strings.Fields(m.tests)...)
	out, err := command(dir, "go", args...)
	if err == nil {
		return "", nil
	}
	if found := regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`).FindAllSubmatch(out, -1); found != nil {
		return "caught by " + string(found[0][1]), nil
	}
	if bytes.Contains(out, []byte("panic: test timed out")) {
		return "caught: a test does not end", nil
	}
	if found := regexp.MustCompile(`(?m)^(panic|fatal error): .*`).Find(out); found != nil {
		return "caught: " + string(found), nil
	}
	return "", fmt.Errorf("no test failed, but go test did: %s", out)
}

func command(dir, name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	c.Dir = dir
	return c.CombinedOutput()
}
