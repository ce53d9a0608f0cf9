// Breaks the code on purpose, one place after the other, in a copy of the
// checkout, and tells whether a test noticed. Run from the root:
//
//	go run .ci/mutate.go [-run REGEXP] [-check]
//
// It fails if a break went unnoticed, or if a place is not found exactly once: then
// the list has to follow the code. -check only looks for the places.
package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A mutation is a change somewhere in a package, which is a folder, or in one of
// its functions ("client Pager.Next"), or in a file. The change is one of these:
//
//	false TEXT      the one condition that has the text in it never holds
//	true TEXT       it always holds
//	drop TEXT       the one statement that has the text in it is not executed
//	OLD => NEW      the text is replaced
//
// Of conditions and statements that contain each other the innermost counts. Tests
// are the packages that should notice, if not the same.
type mutation struct{ what, where, change, tests string }

var mutations = []mutation{
	// The client.
	{"what follows an answer is ignored", "client workspace.decodePage", "false !errors.Is(err, io.EOF)", ""},
	{"a token without createdAt passes", "client", "false t.CreatedAt.IsZero()", ""},
	{"a cursor that comes again is followed for ever", "client", `false next != "" && repeats`, ""},
	{"an answer without pagination passes for the last page", "client", "false !a.page.paginated", ""},
	{"a filter that the service ignores is believed", "client", "false !slices.Contains(p.options.Statuses", ""},
	{"the reset is read as seconds", "client", "time.UnixMilli(ms) => time.Unix(ms, 0)", ""},
	{"a reset in another unit is believed", "client", "true furthestReset", ""},
	{"what is refused for good is sent again", "client Client.retry", "false retryable(", ""},
	{"the wait between attempts does not grow", "client", "min(n-1, 5) => 0*n", ""},
	{"a wait that is asked for has no bound", "client", "min(asked, maxWait) => asked", ""},
	{"a redirect takes the key to another host", "client", "false origin(to) !=", ""},
	{"a redirect that drops the query is followed", "client", "foreign || to.RawQuery != from.RawQuery => foreign", ""},
	{"a login on the same host in https is taken for the API", "client", "case foreign && same && => case foreign &&", ""},
	{"a body has no bound", "client", "false b.left < 0", ""},
	{"a page may have any number of tokens", "client", "false == maxTokens", ""},
	{"a token may have any number of tags", "client", "false == maxTags", ""},
	{"a tag may have any length", "client", "false > maxTag ", ""},
	{"a walk may have any number of pages", "client", "false >= maxPages", ""},
	{"headers may have the size that net/http allows", "client", "MaxResponseHeaderBytes: 64 << 10, => ", ""},
	{"the service's words are quoted with the secrets in them", "client", "redact(refused.Error, r.key, r.idempotency) => refused.Error", ""},
	{"a gateway's refusal is blamed on the key", "client", "c.byService(resp, refused) => true", ""},
	{"a gateway's limit makes its refusal the service's", "client", "!limit.Reset.IsZero() => !limit.Reset.IsZero() || resp.Header.Get(\"X-Ratelimit-Reset\") != \"\"", ""},
	{"a proxy's login in JSON is blamed on the key", "client", `, resp.Header.Get("WWW-Authenticate") != "": => :`, ""},
	{"pages stay in the decoder's buffer", "client", "drop clear(buffer[", ""},
	{"pages stay in what decompression remembers", "client", "drop io.Copy(io.Discard, &w.zip)", ""},
	{"answers stay as text in the buffers of connections", "client", `drop "Accept-Encoding"`, "./client ./test"},
	{"branches of one key have a bucket each", "client/simulator", "false of.opts.Key == opts.Key", ""},
	{"an expired key opens", "client/simulator", "true k.ExpiresAt.After(", ""},

	// The index.
	{"a token that a replica does not have yet has left", "collector/index/waiting.go", "!h.left && h.sure => !h.left", "./collector/index ./collector/refresh"},
	{"absence counts though a replica is behind", "collector/index Index.Trusted", "true > trustAfter", ""},
	{"what came back is counted again", "collector/index Index.Gone", "drop x.past[", ""},
	{"what the window let go of is counted again", "collector/index/index.go", "drop x.past[key.identity] = past", ""},
	{"one turn is enough to drop a finished token", "collector/index", "x.turn-e.turn >= 2 => x.turn-e.turn >= 1", ""},
	{"the verify walk finds nothing deleted", "collector/index", "false x.turn-e.turn >= 2", ""},
	{"bytes of what has gone still count", "collector/index/waiting.go", "drop x.size -= h.token.size()", ""},
	{"a replica that lags brings finished tokens back", "collector/index", "if old, ok := x.finished.Get(key); ok => if old, ok := x.finished.Get(key); ok && false", ""},
	{"the window leaves out its first millisecond", "collector/index", "created >= max(x.cutoff => created > max(x.cutoff", "./collector/index ./collector/refresh"},
	{"near timeout leaves out its last millisecond", "collector/index", "now.Add(within).UnixMilli()+1 => now.Add(within).UnixMilli()", ""},
	{"what is overdue is near its timeout, too", "collector/index Group.NearTimeout", "ceilMilli(now) => int64(none+1)", ""},
	{"the window does not move between refreshes", "collector/index", "now.Add(c.x.opts.Horizon - period) => now.Add(-period)", "./collector/index ./collector/refresh"},
	{"tags with the fewest tokens have the series", "collector/index", "cmp.Compare(b.waiting, a.waiting) => cmp.Compare(a.waiting, b.waiting)", ""},
	{"a token counts twice where two of its tags are folded", "collector/index cutter.groups", "folded = true => if c.other != nil { yield(c.other) } else { folded = true }", ""},
	{"the last rule says how long a token may wait", "collector/index", "range o.ExpectedWait => range slices.Backward(o.ExpectedWait)", ""},
	{"ignored tokens are listed", "collector/index", "true h.set != ignoredSet", ""},
	{"ignored tokens count as created", "collector/index Index.arrive", "true key.set != ignoredSet", ""},
	{"histograms of tags that have gone stay", "collector/index", "drop append(x.flow.gone, label)", ""},
	{"tags take no bytes", "collector/index", "drop t.size += t.names[id].size()", ""},
	{"a suspended machine's snapshot is new", "collector/index Snapshot.Age", "now.Round(0).Sub(s.At.Round(0)) => 0", "./collector/manager"},
	{"a clock that is set back makes snapshots young", "collector/index Snapshot.Age", "max(now.Sub(s.At), => max(", "./collector/manager"},

	// Refreshes.
	{"a page settles one look-up alone", "collector/index Index.Covered", "drop h.looked = at", "./collector/refresh"},
	{"a deleted token is looked up for ever", "collector/refresh Environment.askAround", "case !shown => case false", ""},
	{"any number of tokens is held", "collector/refresh", "true e.index.Len() < tokens", ""},
	{"tokens of any size are held", "collector/refresh", "true size < bytes", ""},
	{"an outage meets all workers", "collector/refresh", "false e.round.careful && e.round.came < fewPages || e.round.err", ""},
	{"one page that lacks everything is believed", "collector/refresh", "false n > max(10, shown/2)", ""},
	{"a gap passes for known", "collector/refresh", "false lo > rest.known", ""},
	{"a failed refresh counts as the last that succeeded", "collector/refresh Metrics.ended", "m.up.Set(0) => m.up.Set(0); m.lastRefresh.WithLabelValues().Set(float64(at.UnixMilli()) / 1000)", ""},
	{"a status is logged as it comes", "collector/refresh", "textForLog(string(status)) => string(status)", ""},
	{"the top is listed with the window's filter", "collector/refresh Environment.askAll", "false p.above == topID", ""},
	{"an outage longer than the window loses tokens", "collector/refresh", "false known.Before(from)", ""},
	{"a suspect waits for its second look-up", "collector/refresh Environment.lookUpIn", "false t.Waiting &&", ""},
	{"a suspect is looked up late though a replica is behind", "collector/index Index.Unresolved", "h.sure && trusted => h.sure && (trusted || h.sure)", "./collector/refresh"},
	{"an empty page ends the first listing of WAITING", "collector/refresh", "s.ends > 1 || s.ends == 1 && len(s.page.Tokens) > 0 => true", ""},
	{"an empty page ends the first listing of the newest", "collector/refresh Environment.doubtsEnd", "return e.all.gapBelow(s.above) || => return", ""},
	{"a refresh ends between two pages of new WAITING tokens", "collector/refresh Environment.progressed", "false e.waitingGaps()", ""},
	{"the first Date is the time from which tokens count", "collector/refresh Environment.newestKnown", "false now.Before(e.arrivals.firstServed)", ""},
	{"the Date of any answer is believed", "collector/refresh serviceClock.believe", "false > aheadOfOthers", ""},
	{"tokens dated ahead are not looked for", "collector/refresh Environment.settleArrivals", "e.ahead(a.created) > e.arrivals.slack || => ", ""},
	{"an empty list of all tokens is believed", "collector/refresh Environment.checkPresent", "case a.emptySince.IsZero() || => case false && a.emptySince.IsZero() &&", ""},
	{"empty pages below the top are believed", "collector/refresh Environment.coverAll", "case doubted && len(s.page.Tokens) == 0 && !s.alive => case false", ""},
	{"tokens that still wait do not contradict a page without them", "collector/refresh Environment.takeConfirmed", "case found == findingWait: => case false:", ""},
	{"some tokens that have left stand for all", "collector/refresh Environment.confirm", "return take(findingMixed) => return take(findingLeft)", ""},
	{"a page is shortened for ever", "collector/refresh", "s.page.Next == \"\" || s.most > 0 && len(tokens) > s.most => s.page.Next == \"\"", ""},
	{"a cursor that is refused stays", "collector/refresh Environment.ask", "false opts.After !=", ""},
	{"a cut page ends the list of WAITING", "collector/refresh Environment.takeWaiting", "missing[0].ID < s.page.Tokens[shown-1].ID => false", ""},
	{"a place is idle if no token appears anywhere", "collector/refresh Environment.settleArrivals", "true e.arrivals.appeared > 0", ""},
	{"waits are shown with a snapshot that is too old", "collector/refresh tokenSeries.Collect", "true s.metrics.fresh()", ""},
	{"waits by tag begin with the history", "collector/refresh Metrics.byTag", "s.Flowing => s.Loaded", ""},
	{"tokens created by tag begin with the history", "collector Collector.newPlan", "if s.Flowing { => if s.Loaded {", ""},
	{"the age of the snapshot goes away with it", "collector Collector.Collect", "drop c.descs.listed", ""},
	{"the last look-up is shown in the next round", "collector/refresh Environment.launch", "drop e.wake = due", ""},
	{"few outcomes among many tokens take a request each", "collector/refresh Environment.nextOutcome", "false scattered && !e.lookUps.unlisted", ""},
	{"pages of a long list overlap", "collector/refresh Environment.nextWaiting", "false !q.busy && q.first", ""},
	{"what once filled the index stays", "collector/refresh", "true start.Sub(e.filled) >=", ""},

	// The rate limit.
	{"nothing of the rate limit is left to others", "collector/ratelimit", "reserve*float64 => 0*reserve*float64", ""},
	{"answers out of order raise what remains", "collector/ratelimit", "drop remaining = min(remaining, b.remaining)", ""},
	{"a service whose clock was set back is never believed", "collector/ratelimit bucket.observeReport", "false !sent.Before(b.probeAt)", ""},
	{"a late answer shows a refill", "collector/ratelimit bucket.observeReport", "!sent.Before => !now.Before", ""},
	{"our clock is taken for the service's", "collector/ratelimit", "drop b.offset = a.Date.Sub(now)", ""},
	{"one answer without headers makes the limiter blind", "collector/ratelimit", "b.silent >= lastingAnswers && now.Sub(b.silentSince) >= lastingTime => b.silent >= 1", ""},
	{"no answers without headers make it blind", "collector/ratelimit", "false b.silent >= lastingAnswers &&", ""},
	{"a request without a report draws nothing", "collector/ratelimit bucket.observeSilence", "drop b.remaining--", ""},
	{"a request without a report is forgotten with the next report", "collector/ratelimit bucket.observeReport", "drop remaining--", ""},
	{"a lower limit counts at once", "collector/ratelimit", "slices.Max(b.sizes[:]) => b.sizes[(b.sizeReports-1)%lastingAnswers]", ""},
	{"a time is taken for a limit", "collector/ratelimit", "true r.Limit <= maxSize", ""},
	{"a time is taken for what remains", "collector/ratelimit", "false r.Remaining > cmp.Or", ""},
	{"a limit of which hardly any remains is believed", "collector/ratelimit", "true size <= maxRatio", ""},
	{"a remaining that no request makes less is believed", "collector/ratelimit", "&& !b.doubt(r, sent, now) => ", ""},
	{"one report that has less ends all doubt", "collector/ratelimit", "b.falls >= maxDoubts => b.falls >= 1", ""},
	{"the first of two values of a header counts", "client", "len(values) == 1 => len(values) > 0", ""},
	{"after a reset requests go until one is answered", "collector/ratelimit bucket.observeSilence", "drop b.probeAt = now.Add(defaultStep)", ""},
	{"a reset that is past counts", "collector/ratelimit bucket.observeReport", "false wait <= 0", ""},
	{"after a refill everybody asks at once", "collector/ratelimit", "false inFlight > 0", ""},
	{"a refusal holds for as long as it says", "collector/ratelimit", "min(max(a.RetryAfter, time.Second), maxPause) => max(a.RetryAfter, time.Second)", ""},
	{"an earlier request ends a pause", "collector/ratelimit", "false now.Before(b.pause)", ""},
	{"refreshes know no share", "collector/ratelimit", "true w.opts.Share == 0)", ""},
	{"a load is bound by the share", "collector/ratelimit", "w.beyondShare || => ", ""},
	{"nothing can be saved up", "collector/ratelimit", "SetBurstAt(now, burst) => SetBurstAt(now, min(burst, minCredit))", ""},
	{"a request that gives up keeps its turn", "collector/ratelimit", "drop w.turn.CancelAt(", ""},
	{"a slow refill is taken for a usual one", "collector/ratelimit", "false f.n >= minSamples", ""},
	{"a full bucket shows a slow refill", "collector/ratelimit", "full := r.Limit-r.Remaining-1 < => full := 1<<40 <", ""},
	{"a minute is taken for the usual step", "collector/ratelimit", "max(step, fillTime) => fillTime", ""},
	{"any gap shows a slow refill", "collector/ratelimit", "true *share*current <= 2", ""},
	{"environments with one key have a limit each", "collector/manager", "false other.bucket == r.bucket", ""},

	// What is shown and served.
	{"an old snapshot is shown as new", "collector", "true s.Fresh(now", ""},
	{"finished tokens are counted before they are known", "collector Collector.newPlan", "statuses = statuses[:1] => _ = 1", ""},
	{"series of the snapshot before are shown", "collector", "false plan.snapshot != s", ""},
	{"timestamps are in milliseconds", "collector", "float64(t.UnixMilli()) / 1000 => float64(t.UnixMilli())", ""},
	{"JSON turns a terminal's text round", "collector/web", "true unicode.IsPrint(r)", ""},
	{"a spreadsheet runs what is in a tag", "collector/web", "row[i] = plain(row[i]) => _ = plain(row[i])", ""},
	{"part of the tokens passes for all in a CSV", "collector/web", "false len(l.unknown()) > 0", ""},
	{"a CSV file that is being sent does not count", "collector/web server.tokens", "defer s.files.Release(1) => s.files.Release(1)", ""},
	{"an id leads out of its place in the dashboard", "collector/web", "url.PathEscape(e.ID) => url.PathEscape(\"\")+e.ID", ""},
	{"a page's links leave the prefix of a proxy", "collector/web/layout.html", `"{{.Up}}runbook" => "/runbook"`, "./test"},
	{"requests for the metrics are held without bound", "collector/server", "NewWeighted(maxHeld) => NewWeighted(1 << 40)", ""},
	{"an answer is shared with those who read no gzip", "collector/server", `strings.Join(r.Header["Accept-Encoding"], ",") => ""`, ""},
	{"an answer that was begun before a request came is shared", "collector/server", "drop delete(b.waiting, key)", ""},
	{"the memory of an answer that was sent stays taken", "collector/server", "drop b.memory.Release(a.size)", ""},
	{"memory for an answer is acquired after its turn", "collector/server buffer.fill", "true b.memory.TryAcquire(size)", ""},
	{"a request that was taken up is dropped at the end", "collector/server", "false s.anyBusy()", ""},
	{"systemd is told that it is ready before it listens", "collector/server", "server.onListening = func() { notify(daemon.SdNotifyReady, logger) } => notify(daemon.SdNotifyReady, logger)", "./test"},
	{"wrong usage ends like another failure", "main.go", "code := exitUsage => code := exitFailure", "./test"},
	{"what a server sends unasked is logged", "main.go", "stdlog.SetOutput(io.Discard) => stdlog.SetOutput(os.Stderr)", "./test"},
	{"two families of OpenMetrics have one name", "registry.go", "drop c.hidden = d", "./test"},

	// The configuration.
	{"a label's value need not be UTF-8", "collector/config/notation", "true utf8.ValidString(text)", "./collector/config/..."},
	{"a variable in a file becomes a label", "collector/config/yamlfile", "variable.FindStringSubmatch(text); m != nil => variable.FindStringSubmatch(text); false", "./collector/config"},
	{"an option of TLS switches the environment's proxy off", "collector/config/access", "drop cfg.Proxy(), cfg.GetProxyConnectHeader()", "./collector/config"},
	{"a proxy that net/http ignores is accepted", "collector/config/access", "true validProxy(value)", "./collector/config"},
	{"a field with a dot replaces the one in the section", "collector/config", "false && dotted", ""},
	{"a variable of another tool becomes a label", "collector/config/yamlfile", "false whole.MatchString", ""},
	{"a group of another tool is literal text", "collector/config/notation", "false other != ", ""},
	{"each try leaves a read behind", "collector/config/access", "true begun == nil", "./collector/config"},
	{"each look at a file that blocks reads it, too", "collector/config/access", "os.SameFile(file, begun.file) => false", "./collector/config"},
	{"a file that replaced one that blocks is not read", "collector/config/access", "os.SameFile(file, begun.file) => true", "./collector/config"},
	{"a file that was replaced counts", "collector/config/access", "|| begun.file != file => ", "./collector/config"},
	{"a reload that blocks holds up the end", "collector/manager/reload.go", "<-ctx.Done():\n\t\treturn ctx.Err() => <-(chan bool)(nil):\n\t\treturn ctx.Err()", "./collector/manager"},
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
	tried, wrong := 0, 0
	for _, m := range mutations {
		if !only.MatchString(m.what) {
			continue
		}
		tried++
		start := time.Now()
		verdict := ""
		path, broken, err := m.place(dir)
		if err == nil && !check {
			verdict, err = m.try(dir, path, broken)
		}
		if err != nil {
			verdict = "WRONG: " + err.Error()
			wrong++
		}
		if err != nil || !check {
			fmt.Printf("%-28s %-60s %s (%s)\n", m.where, m.what, verdict, time.Since(start).Round(time.Second))
		}
	}
	fmt.Printf("%d places, %d wrong\n", tried, wrong)
	if wrong > 0 {
		return fmt.Errorf("%d mutations are not found once, do not compile, or went unnoticed", wrong)
	}
	return nil
}

// forms are what becomes of a node. Nothing that it names is left unused.
var forms = map[string]string{"false": "((%s) && false)", "true": "((%s) || true)", "drop": "if false { %s }"}

// place returns the file to change and its new text.
func (m mutation) place(dir string) (path string, broken []byte, err error) {
	where, function, _ := strings.Cut(m.where, " ")
	paths := []string{filepath.Join(dir, where)}
	if filepath.Ext(where) == "" {
		paths, _ = filepath.Glob(filepath.Join(dir, where, "*.go"))
	}
	n := 0
	for _, p := range paths {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return "", nil, err
		}
		changed, found, err := m.apply(p, text, function)
		if err != nil {
			return "", nil, err
		}
		if n += found; found > 0 {
			path, broken = p, changed
		}
	}
	if n != 1 {
		return "", nil, fmt.Errorf("%q is there %d times, want once", m.change, n)
	}
	return path, broken, nil
}

// apply returns how many places a file has, and its text with the last of them
// changed.
func (m mutation) apply(path string, text []byte, function string) (changed []byte, found int, err error) {
	verb, arg, _ := strings.Cut(m.change, " ")
	old, replacement, replaces := strings.Cut(m.change, " => ")
	from, to := 0, len(text)
	var file *ast.File
	set := token.NewFileSet()
	if filepath.Ext(path) == ".go" {
		if file, err = parser.ParseFile(set, path, text, 0); err != nil {
			return nil, 0, err
		}
	}
	at := func(n ast.Node) (int, int) { return set.Position(n.Pos()).Offset, set.Position(n.End()).Offset }
	if function != "" {
		from, to = 0, 0
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && nameOf(f) == function {
				from, to = at(f)
			}
		}
	}
	splice := func(from, to int, s string) []byte {
		return bytes.Join([][]byte{text[:from], []byte(s), text[to:]}, nil)
	}
	if replaces {
		changed = bytes.Replace(text[from:to], []byte(old), []byte(replacement), 1)
		return splice(from, to, string(changed)), bytes.Count(text[from:to], []byte(old)), nil
	}
	// The innermost of the nodes that have the text in them; those inside of a node
	// come behind it.
	var nodes []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			return false
		}
		begin, end := at(n)
		// A condition's text may reach to the brace behind it.
		if begin >= from && end <= to && (verb == "drop" && isStatement(n) || verb != "drop" && isCondition(n)) &&
			bytes.Contains(text[begin:min(end+2, len(text))], []byte(arg)) {
			for len(nodes) > 0 && nodes[len(nodes)-1].Pos() <= n.Pos() && n.End() <= nodes[len(nodes)-1].End() {
				nodes = nodes[:len(nodes)-1]
			}
			nodes = append(nodes, n)
		}
		return true
	})
	for _, n := range nodes {
		begin, end := at(n)
		changed = splice(begin, end, fmt.Sprintf(forms[verb], text[begin:end]))
	}
	return changed, len(nodes), nil
}

// nameOf returns a function's name, behind that of its receiver's type.
func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return f.Name.Name
}

func isStatement(n ast.Node) bool {
	switch n.(type) {
	case *ast.ExprStmt, *ast.AssignStmt, *ast.IncDecStmt:
		return true
	}
	return false
}

// isCondition reports whether a node is a comparison, combines conditions, or is a
// call, which is one if the text chooses it.
func isCondition(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		switch n.Op {
		case token.LAND, token.LOR, token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
			return true
		}
	case *ast.UnaryExpr:
		return n.Op == token.NOT
	case *ast.CallExpr:
		return true
	}
	return false
}

// try returns the first test that noticed.
func (m mutation) try(dir, path string, broken []byte) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		return "", err
	}
	defer os.WriteFile(path, text, 0o600)
	where := "./" + strings.TrimPrefix(strings.TrimPrefix(filepath.Dir(path), dir), "/")
	if out, err := command(dir, "go", "build", "-o", os.DevNull, where); err != nil {
		return "", fmt.Errorf("broken, it does not compile: %s", out)
	}
	// A test that hangs on what is broken has noticed, too.
	args := append([]string{"test", "-count=1", "-failfast", "-vet=off", "-timeout=3m"}, strings.Fields(cmp.Or(m.tests, where))...)
	out, err := command(dir, "go", args...)
	if err == nil {
		return "", fmt.Errorf("NOT CAUGHT")
	}
	if found := regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`).FindAllSubmatch(out, -1); found != nil {
		return "caught by " + string(found[0][1]), nil
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
