package refresh_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waitpoint_exporter/client/simulator"
	"waitpoint_exporter/collector/refresh"
	"waitpoint_exporter/test/size"
)

// Services that break an assumption: numbers stay right, or are absent, and counters
// count each token once.

// flow adds tokens that were created and finished at once, by a host whose clock is
// wrong.
type flow struct {
	w       *world
	created uint64
}

func (f *flow) quick(id string, at time.Time, off time.Duration) {
	f.created++
	token := simulator.Token{ID: id, CreatedAt: at.Add(off), VisibleAt: at, Tags: []string{"quick"}}
	f.w.truth.Finish(f.w.truth.Add(token)[0], "COMPLETED")
}

// check compares all numbers with the service, and the number of tokens counted as
// created.
func (f *flow) check(t *testing.T, when string) {
	t.Helper()
	synctest.Wait()
	if d := f.w.diff(time.Now()); d != "" {
		t.Errorf("%s: %s", when, d)
	}
	if s := f.w.subject.Snapshot(); s.Created != f.created {
		t.Errorf("%s: %d tokens counted as created, %d were", when, s.Created, f.created)
	}
	if s := f.w.subject.State(); !s.Up {
		t.Errorf("%s: %s", when, s.Err)
	}
}

// newShape returns an id for a time, of a shape that sorts below all others.
func newShape(at time.Time, n int) string {
	return fmt.Sprintf("waitpoint_0%013d%06d", at.UnixMilli(), n)
}

// TestNewIDs checks that tokens whose ids sort below all old ones are counted from
// the middle of a history on, at the usual price.
func TestNewIDs(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]refresh.Options{"all": {}, "window": {Period: 24 * time.Hour}} {
		for _, mixed := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " mixed ", mixed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					opts.VerifyInterval = 24 * time.Hour
					w := start(t, simulator.EnvironmentOptions{Limit: simulator.Limit{Size: 100_000_000}}, opts, func(e *simulator.Environment) {
						e.Populate(simulator.Population{Seed: 1, Tokens: 5000, Waiting: 100, Span: 3 * 24 * time.Hour})
					})
					defer w.stop()
					time.Sleep(90 * time.Second)
					f := &flow{w: w}
					perSecond := size.Of(10, 300)
					second := func(shape func(i int) bool) {
						now := time.Now()
						for i := range perSecond {
							id := ""
							if shape(i) {
								id = newShape(now, i)
							}
							f.quick(id, now, 0)
						}
						time.Sleep(time.Second)
					}
					for range 180 {
						second(func(int) bool { return false })
					}
					before := w.truth.Count()
					for range 300 {
						second(func(i int) bool { return !mixed || i%2 == 0 })
					}
					per := (w.truth.Count() - before) / 5
					t.Logf("%d requests a refresh", per)
					time.Sleep(2 * time.Minute)
					f.check(t, "two intervals later")
					if most := perSecond*60/100*7/4 + 30; per > most {
						t.Errorf("%d requests a refresh, want at most %d", per, most)
					}
				})
			})
		}
	}
}

// TestHostClocks checks that tokens of a host whose clock is ahead or behind are
// counted exactly.
func TestHostClocks(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-20 * time.Second, 35 * time.Second, 60 * time.Second, 2 * time.Minute} {
		t.Run(off.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, simulator.EnvironmentOptions{Lag: 10 * time.Second}, refresh.Options{VerifyInterval: 24 * time.Hour}, func(e *simulator.Environment) {
					e.Populate(simulator.Population{Seed: 1, Tokens: 5000, Waiting: 100})
				})
				defer w.stop()
				time.Sleep(90 * time.Second)
				f := &flow{w: w}
				for i := range size.Of(400, 1200) {
					for range 5 {
						f.quick("", time.Now(), 0)
					}
					if i%2 == 0 {
						f.quick("", time.Now(), off)
					}
					time.Sleep(time.Second / 2)
				}
				time.Sleep(3 * time.Minute)
				f.check(t, "in the end")
			})
		})
	}
}

// TestDatedAhead checks that a block of tokens dated a day ahead at the top of the list
// neither hides new tokens nor costs its pages again and again.
func TestDatedAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 24 * time.Hour}, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: 5000, Waiting: 100})
		})
		defer w.stop()
		time.Sleep(90 * time.Second)
		f := &flow{w: w}
		for range 2000 {
			f.quick("", time.Now(), 24*time.Hour)
		}
		time.Sleep(10 * time.Minute)
		f.check(t, "they are known")
		before := w.truth.Count()
		for i := range 3600 {
			if i%5 == 0 {
				f.quick("", time.Now(), 0)
			}
			time.Sleep(time.Second)
		}
		n := w.truth.Count() - before
		time.Sleep(2 * time.Minute)
		f.check(t, "an hour later")
		if n > 60*6 {
			t.Errorf("%d requests in an hour", n)
		}
	})
}

// TestOneEmptyPage checks that an empty page with 200 removes no token.
func TestOneEmptyPage(t *testing.T) {
	t.Parallel()
	for name, hits := range map[string]func(*http.Request) bool{
		"WAITING": func(r *http.Request) bool { return r.URL.Query().Has("filter[status]") },
		"all":     func(r *http.Request) bool { return !r.URL.Query().Has("filter[status]") },
		"any":     func(*http.Request) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			under(t, refresh.Options{VerifyInterval: 20 * time.Minute}, func(t *testing.T, w *world) {
				before := w.truth.Count()
				for range size.Of(3, 60) {
					w.service.Inject(simulator.Fault{Kind: simulator.FaultBody, Body: `{"data":[],"pagination":{}}`, Match: hits, Times: 1})
					for range 6 {
						time.Sleep(10 * time.Second)
						if d := w.diff(time.Now()); d != "" {
							t.Fatal(d)
						}
					}
				}
				if n := w.truth.Count() - before; n > 60*12 {
					t.Errorf("%d requests in an hour", n)
				}
				if n := w.subject.Snapshot().Corrections; n > 0 {
					t.Errorf("%d corrections", n)
				}
			})
		})
	}
}

// An answered page, as it is sent.
type answered struct {
	Data       []json.RawMessage `json:"data"`
	Pagination struct {
		Next string `json:"next,omitempty"`
	} `json:"pagination"`
}

// edited changes answers.
type edited struct {
	http.RoundTripper

	edit func(*http.Request, *answered)
}

func (e edited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := e.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func(whole io.Closer) { _ = whole.Close() }(resp.Body)
	var page answered
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, err
	}
	e.edit(r, &page)
	body, err := json.Marshal(page)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, err
}

// TestCutWhileLoading checks that a page without its second half, and without a cursor, ends
// no listing, whichever page it is and whatever other requests list meanwhile.
func TestCutWhileLoading(t *testing.T) {
	t.Parallel()
	for n := range size.Of(20, 400) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			seen := 0
			w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 24 * time.Hour}, func(next http.RoundTripper) http.RoundTripper {
				rng := rand.New(rand.NewPCG(uint64(n), 0))
				return edited{next, func(_ *http.Request, page *answered) {
					mu.Lock()
					seen++
					nth, wait := seen, time.Duration(rng.IntN(40))*time.Millisecond
					mu.Unlock()
					time.Sleep(wait) // Answers overtake each other.
					if nth == n%20+1 {
						page.Data, page.Pagination.Next = page.Data[:len(page.Data)/2], ""
					}
				}}
			}, func(e *simulator.Environment) {
				e.Populate(simulator.Population{Seed: uint64(n), Tokens: 1463, Waiting: 120})
			})
			defer w.stop()
			time.Sleep(30 * time.Second)
			if d := w.diff(time.Now()); d != "" {
				t.Fatalf("page %d: %s", n%20+1, d)
			}
		})
	}
}

// TestThinPage checks that a page that lacks most of its tokens takes none away.
func TestThinPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var thin atomic.Bool
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{}, func(next http.RoundTripper) http.RoundTripper {
			return edited{next, func(r *http.Request, page *answered) {
				if !r.URL.Query().Has("filter[status]") || !thin.CompareAndSwap(true, false) {
					return
				}
				kept := page.Data[:0]
				for i, token := range page.Data {
					if i%3 == 0 || i == len(page.Data)-1 {
						kept = append(kept, token)
					}
				}
				page.Data = kept
			}}
		}, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: 600, Waiting: 250})
		})
		defer w.stop()
		time.Sleep(5 * time.Minute)
		for range 10 {
			thin.Store(true)
			for range size.Of(12, 60) {
				time.Sleep(time.Duration(size.Of(5, 1)) * time.Second)
				if d := w.diff(time.Now()); d != "" {
					t.Fatal(d)
				}
			}
			if thin.Load() {
				t.Fatal("no page was thin")
			}
		}
	})
}

// slowly answers after four seconds, so that a round with many look-ups shows numbers
// before it ends.
type slowly struct{ http.RoundTripper }

func (s slowly) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(4 * time.Second)
	return s.RoundTripper.RoundTrip(r)
}

// TestEmptyPageOfManyWaiting checks that an empty page instead of many WAITING tokens takes
// none of them away, and only a few more requests.
func TestEmptyPageOfManyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 24 * time.Hour}, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: 1600, Waiting: 1500})
		})
		defer w.stop()
		time.Sleep(5 * time.Minute)
		first, looks := 0, 0
		w.service.Inject(simulator.Fault{Kind: simulator.FaultBody, Body: `{"data":[],"pagination":{}}`, Times: 2, Match: func(r *http.Request) bool {
			q := r.URL.Query()
			if q.Has("filter[status]") && !q.Has("filter[createdAt][to]") {
				first++
				return first == 1
			}
			looks++ // Of any kind, and the top in each round.
			return false
		}})
		for range 30 {
			time.Sleep(10 * time.Second)
			if n := w.subject.Snapshot().Total.Count(0, time.Now()); n != 1500 {
				t.Fatalf("%d tokens are WAITING, want 1500", n)
			}
		}
		if first == 0 || looks > 12 {
			t.Errorf("%d pages of WAITING, %d more looks", first, looks)
		}
	})
}

// TestEmptyWhileLoading checks that an empty page ends neither the history nor
// the first listing of WAITING tokens, whichever page it is.
func TestEmptyWhileLoading(t *testing.T) {
	t.Parallel()
	for n := range size.Of(16, 60) {
		waits := n % 2 * 250
		synctest.Test(t, func(t *testing.T) {
			var seen atomic.Int64
			w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 24 * time.Hour}, func(next http.RoundTripper) http.RoundTripper {
				return between{slowly{next}, simulator.Transport(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write([]byte(`{"data":[],"pagination":{}}`))
				})), func(*http.Request) bool {
					return seen.Add(1) == int64(n/2+1)
				}}
			}, func(e *simulator.Environment) {
				e.Populate(simulator.Population{Seed: 1, Tokens: 1200, Waiting: waits})
			})
			defer w.stop()
			for range 1800 {
				time.Sleep(100 * time.Millisecond)
				s := w.subject.Snapshot()
				if s == nil {
					continue
				}
				if waiting := s.Total.Count(0, time.Now()); waiting != waits {
					t.Fatalf("page %d is empty: %d tokens are WAITING, want %d", n/2+1, waiting, waits)
				}
				if s.Loaded {
					if d := w.diff(time.Now()); d != "" {
						t.Errorf("page %d is empty: %s", n/2+1, d)
					}
					return
				}
			}
			t.Errorf("page %d is empty: not loaded", n/2+1)
		})
	}
}

// TestStandingReplica checks that a replica that does not change for an hour and
// answers every third request does not make counters wrong.
func TestStandingReplica(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var standing atomic.Bool
		var n atomic.Int64
		old := simulator.New(simulator.Options{Seed: 7, Latency: 20 * time.Millisecond})
		frozen := old.Environment(simulator.EnvironmentOptions{Key: key})
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 30 * time.Minute}, func(next http.RoundTripper) http.RoundTripper {
			return between{next, plain{simulator.Transport(old)}, func(*http.Request) bool { return standing.Load() && n.Add(1)%3 == 0 }}
		}, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: 2000, Waiting: 250})
		})
		defer w.stop()
		time.Sleep(90 * time.Second)
		for _, token := range w.truth.Tokens() {
			frozen.Add(token)
		}
		standing.Store(true)
		f := &flow{w: w}
		rng := rand.New(rand.NewPCG(1, 1))
		churn := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Second) {
				f.quick("", time.Now(), 0)
				f.created++
				w.truth.Add(simulator.Token{CreatedAt: time.Now(), Tags: []string{"waits"}})
				waits := slices.DeleteFunc(w.truth.Tokens(), func(t simulator.Token) bool { return t.Status != "WAITING" })
				w.truth.Finish(waits[rng.IntN(len(waits))].ID, "COMPLETED")
			}
		}
		churn(time.Duration(size.Of(10, 60)) * time.Minute)
		standing.Store(false)
		churn(time.Duration(size.Of(5, 20)) * time.Minute)
		time.Sleep(time.Hour)
		f.check(t, "an hour after it moves again")
	})
}

// limited cuts pages down to 25 tokens.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	if size := q.Get("page[size]"); len(size) > 1 && size > "25" || len(size) > 2 {
		q.Set("page[size]", "25")
		r.URL.RawQuery = q.Encode()
	}
	return l.RoundTripper.RoundTrip(r)
}

// TestShortPages checks that a verify turn keeps to its interval even if the service
// returns pages of 25 tokens where 100 were requested.
func TestShortPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: time.Hour}, func(next http.RoundTripper) http.RoundTripper { return limited{next} }, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: 5000, Waiting: 100})
		})
		defer w.stop()
		time.Sleep(5 * time.Minute)
		gone := 0
		for _, token := range w.truth.Tokens()[500:] {
			if token.Status != "WAITING" && gone < 100 {
				gone++
				w.truth.Delete(token.ID)
			}
		}
		time.Sleep(3*time.Hour + 5*time.Minute)
		if d := w.diff(time.Now()); d != "" {
			t.Errorf("after three turns, what was deleted is still there: %s", d)
		}
	})
}

// TestOddAtPageEnd checks that an id out of order at the end of a page does not end
// a part of the history.
func TestOddAtPageEnd(t *testing.T) {
	t.Parallel()
	for n := range size.Of(4, 20) {
		synctest.Test(t, func(t *testing.T) {
			var seen atomic.Int64
			w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 24 * time.Hour}, func(next http.RoundTripper) http.RoundTripper {
				return misplacing{next, &seen, int64(n), time.Now().Add(-20 * 24 * time.Hour)}
			}, func(e *simulator.Environment) {
				e.Populate(simulator.Population{Seed: 1, Tokens: 4000, Waiting: 50})
			})
			defer w.stop()
			time.Sleep(3 * time.Minute)
			if d := w.diff(time.Now()); d != "" {
				t.Errorf("page %d: %s", n, d)
			}
		})
	}
}

// misplacing also puts a token from far down the list at the end of one page.
type misplacing struct {
	http.RoundTripper

	seen *atomic.Int64
	n    int64
	to   time.Time
}

func (m misplacing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := m.RoundTripper.RoundTrip(r)
	if err != nil || r.URL.Query().Has("filter[status]") || r.URL.Query().Get("page[size]") != "100" || m.seen.Add(1) != m.n+1 {
		return resp, err
	}
	oldest := r.Clone(r.Context())
	oldest.URL.RawQuery = "page[size]=1&filter[createdAt][to]=" + m.to.UTC().Format("2006-01-02T15:04:05.000Z")
	other, err := m.RoundTripper.RoundTrip(oldest)
	if err != nil {
		return nil, err
	}
	var odd string
	if _, err := rewrite(other, func(body string) string {
		odd = body[strings.Index(body, "[{")+1 : strings.Index(body, "}]")+1]
		return body
	}); err != nil {
		return nil, err
	}
	return rewrite(resp, func(body string) string { return strings.Replace(body, "}]", "},"+odd+"]", 1) })
}

// TestBacklog checks that after an outage during which many tokens were created the
// first refresh succeeds, and that the backlog is listed once.
func TestBacklog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 24 * time.Hour}, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: 2000, Waiting: 50})
		})
		defer w.stop()
		time.Sleep(90 * time.Second)
		f := &flow{w: w}
		up := w.service.Inject(simulator.Fault{Kind: simulator.FaultDrop})
		remove := w.service.Inject(simulator.Fault{Kind: simulator.FaultSlow, Delay: 80 * time.Millisecond})
		defer remove()
		n := size.Of(18_000, 600_000)
		for i := range 3600 {
			for range n / 3600 {
				f.quick("", time.Now(), 0)
			}
			if i%600 == 0 {
				synctest.Wait()
			}
			time.Sleep(time.Second)
		}
		if w.subject.State().Up {
			t.Fatal("up in an outage")
		}
		up()
		before := w.truth.Count()
		time.Sleep(61 * time.Second)
		for i := 0; !w.subject.State().Up && i < 60; i++ {
			time.Sleep(time.Second)
		}
		if s := w.subject.State(); !s.Up {
			t.Errorf("two minutes later: %s", s.Err)
		}
		for i := 0; i < 3600 && !w.subject.Snapshot().Loaded; i++ {
			time.Sleep(time.Second)
		}
		pages := w.truth.Count() - before
		t.Logf("%d requests for %d tokens", pages, n)
		time.Sleep(2 * time.Minute)
		f.check(t, "when the backlog is listed")
		if most := n/100*11/10 + 200; pages > most {
			t.Errorf("%d requests, want at most %d", pages, most)
		}
	})
}

// TestOrderComesBack checks that pages that are out of order for a while make no number
// wrong, and that lists are later treated as ordered again.
func TestOrderComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var odd atomic.Bool
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 30 * time.Minute}, func(next http.RoundTripper) http.RoundTripper {
			return between{next, rewriter{next, tokensOf(slices.Reverse[[]map[string]any])}, func(*http.Request) bool { return odd.Load() }}
		}, func(e *simulator.Environment) {
			e.Populate(simulator.Population{Seed: 1, Tokens: 4000, Waiting: 125})
		})
		defer w.stop()
		time.Sleep(90 * time.Second)
		f := &flow{w: w}
		live := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Second) {
				f.quick("", time.Now(), 0)
			}
			time.Sleep(2 * time.Minute)
			f.check(t, "in order, out of it, in it")
		}
		live(5 * time.Minute)
		odd.Store(true)
		live(10 * time.Minute)
		if n := w.gauge(t, "triggerdev_waitpoint_assumption_broken", "id_order"); n != 1 {
			t.Errorf("id_order is %v while pages are out of order", n)
		}
		odd.Store(false)
		live(90 * time.Minute)
		if n := w.gauge(t, "triggerdev_waitpoint_assumption_broken", "id_order"); n != 0 {
			t.Errorf("id_order is %v long after", n)
		}
	})
}

// TestVoidCursors checks that cursors that suddenly lead elsewhere make no number
// wrong, and are replaced.
func TestVoidCursors(t *testing.T) {
	for _, refused := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var void atomic.Bool
			w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 30 * time.Minute}, func(next http.RoundTripper) http.RoundTripper {
				return renaming{next, &void, refused}
			}, func(e *simulator.Environment) {
				e.Populate(simulator.Population{Seed: 1, Tokens: 4000, Waiting: 325})
			})
			defer w.stop()
			time.Sleep(90 * time.Second)
			f := &flow{w: w}
			for i := range 60 {
				f.quick("", time.Now(), 0)
				void.Store(i >= 10)
				time.Sleep(20 * time.Second)
				if s := w.subject.Snapshot(); s.Created > f.created {
					t.Fatalf("%d tokens counted as created, %d were", s.Created, f.created)
				}
			}
			time.Sleep(2 * time.Minute)
			f.check(t, "after the change")
			if s := w.subject.State(); !s.Up {
				t.Error(s.Err)
			}
		})
	}
}

// renaming changes the form of cursors at some time: from then on, cursors of the old
// form lead to the top, or are refused.
type renaming struct {
	http.RoundTripper

	renamed *atomic.Bool
	refused bool
}

func (n renaming) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	cursor, isNew := strings.CutPrefix(q.Get("page[after]"), "new-")
	if n.refused && cursor != "" && n.renamed.Load() != isNew {
		return &http.Response{
			StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
			Body: io.NopCloser(strings.NewReader(`{"error":"Invalid cursor"}`)),
		}, nil
	}
	if q.Set("page[after]", cursor); cursor == "" || n.renamed.Load() != isNew {
		q.Del("page[after]")
	}
	r.URL.RawQuery = q.Encode()
	return rewriter{n.RoundTripper, func(body string) string {
		if !n.renamed.Load() {
			return body
		}
		return strings.Replace(body, `"next":"`, `"next":"new-`, 1)
	}}.RoundTrip(r)
}

// TestWrongCursor checks that a single page with the cursor of another place makes only
// one refresh fail.
func TestWrongCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wrong atomic.Bool
		w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 30 * time.Minute},
			func(next http.RoundTripper) http.RoundTripper {
				return between{next, rewriter{next, sameCursor}, func(*http.Request) bool { return wrong.Swap(false) }}
			}, func(e *simulator.Environment) {
				e.Populate(simulator.Population{Seed: 1, Tokens: 4000, Waiting: 325})
			})
		defer w.stop()
		time.Sleep(90 * time.Second)
		f := &flow{w: w}
		for i := range 90 {
			f.quick("", time.Now(), 0)
			if i%9 == 0 && i < 60 {
				wrong.Store(true)
			}
			time.Sleep(20 * time.Second)
		}
		time.Sleep(2 * time.Minute)
		f.check(t, "long after")
	})
}

// sameCursor gives each page the same next cursor.
func sameCursor(body string) string {
	const cursor = "cmwszwhac0000ja7d3k8d0g4v"
	if before, after, ok := strings.Cut(body, `"next":"`); ok {
		return before + `"next":"` + cursor + after[strings.Index(after, `"`):]
	}
	return body
}

// TestIgnoredPageSize checks that a page that cannot be made to end at a boundary is
// requested a limited number of times: the service gives pages of one size.
func TestIgnoredPageSize(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"25", "100"} {
		synctest.Test(t, func(t *testing.T) {
			var requests atomic.Int64
			w := startOver(t, simulator.EnvironmentOptions{}, refresh.Options{VerifyInterval: 24 * time.Hour}, func(next http.RoundTripper) http.RoundTripper {
				return sized{next, size, &requests}
			}, func(e *simulator.Environment) {
				e.Populate(simulator.Population{Seed: 1, Tokens: 1000, Waiting: 250})
			})
			defer w.stop()
			time.Sleep(5 * time.Minute)
			var waiting []simulator.Token
			for _, token := range w.truth.Tokens() {
				if token.Status == "WAITING" {
					waiting = append(waiting, token)
				}
			}
			n, _ := strconv.Atoi(size)
			w.truth.Finish(waiting[n-1].ID, "COMPLETED") // The first page of WAITING ends with it.
			requests.Store(0)
			time.Sleep(10 * time.Minute)
			if d := w.diff(time.Now()); d != "" || !w.subject.State().Up {
				t.Error(d, w.subject.State().Err)
			}
			if n := requests.Load(); n > 300 {
				t.Errorf("%d requests in ten minutes", n)
			}
		})
	}
}

// sized gives pages of one size, and counts requests.
type sized struct {
	http.RoundTripper

	size     string
	requests *atomic.Int64
}

func (s sized) RoundTrip(r *http.Request) (*http.Response, error) {
	s.requests.Add(1)
	q := r.URL.Query()
	q.Set("page[size]", s.size)
	r = r.Clone(r.Context())
	r.URL.RawQuery = q.Encode()
	return s.RoundTripper.RoundTrip(r)
}
