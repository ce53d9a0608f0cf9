package simulator

import (
	"bytes"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// FaultKind is a kind of fault.
type FaultKind int

const (
	// FaultStatus answers with Status, Body and Header.
	FaultStatus FaultKind = iota
	// FaultSlow waits for Delay, then answers as usual.
	FaultSlow
	// FaultHang never answers.
	FaultHang
	// FaultCut sends half of the body, then ends the connection.
	FaultCut
	// FaultDrop ends the connection at once.
	FaultDrop
	// FaultHTML answers with a proxy's HTML page and status 200.
	FaultHTML
	// FaultBody answers 200 with Body as JSON.
	FaultBody
	// FaultEndless begins a page and never ends it.
	FaultEndless
	// FaultDrip sends one byte per Delay. Zero: 1 s.
	FaultDrip
	// FaultRepeatCursor gives the same next cursor on each page.
	FaultRepeatCursor
	// FaultRedirect answers 302 with the Location in Header.
	FaultRedirect
	// FaultDouble lists each token of the page twice.
	FaultDouble
	// FaultNulls adds null for absent fields, and unknown fields.
	FaultNulls
)

// A Fault is injected into the answers to some requests.
type Fault struct {
	// Match selects the requests. Nil: all.
	Match func(*http.Request) bool
	// Times is how often the fault occurs. Zero: until it is removed.
	Times  int
	Kind   FaultKind
	Status int
	Body   string
	Header http.Header
	Delay  time.Duration
}

type activeFault struct {
	Fault

	struck int
}

// Inject injects a fault until the returned function is called. If several faults
// match a request, the one injected first occurs.
func (s *Simulator) Inject(f Fault) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	active := &activeFault{Fault: f}
	s.faults = append(s.faults, active)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		active.struck, active.Times = 1, 1
	}
}

// fault returns the fault for a request, or nil. The caller holds s.mu.
func (s *Simulator) fault(r *http.Request) *activeFault {
	for _, f := range s.faults {
		if (f.Times == 0 || f.struck < f.Times) && (f.Match == nil || f.Match(r)) {
			f.struck++
			return f
		}
	}
	return nil
}

var (
	nextCursor = regexp.MustCompile(`"next":"[^"]*"`)
	tokenBegin = regexp.MustCompile(`\{"id":`)
	dataArray  = regexp.MustCompile(`(?s)\[(\{.*\})\]`)
)

// apply turns an answer into a faulty one. If the result is done, the fault has
// already answered.
func (f *activeFault) apply(w http.ResponseWriter, r *http.Request, a answer) answer {
	done := answer{done: true}
	switch f.Kind {
	case FaultStatus:
		header := f.Header.Clone()
		if header == nil {
			header = http.Header{}
		}
		return answer{status: f.Status, body: []byte(f.Body), header: header}
	case FaultSlow:
		if !pause(r, f.Delay) {
			return done
		}
	case FaultHang:
		<-r.Context().Done()
		return done
	case FaultCut:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(a.body[:len(a.body)/2])
		flush(w)
		panic(http.ErrAbortHandler)
	case FaultDrop:
		panic(http.ErrAbortHandler)
	case FaultHTML:
		a.body = []byte("<!DOCTYPE html><html><body>Sign in</body></html>")
		a.header.Set("Content-Type", "text/html")
		a.status = http.StatusOK
	case FaultBody:
		return jsonAnswer(http.StatusOK, []byte(f.Body))
	case FaultEndless:
		const token = `{"id":"waitpoint_x","status":"WAITING","tags":[],"createdAt":"2026-01-01T00:00:00.000Z"},`
		f.stream(w, r, []byte(`{"data":[`), bytes.Repeat([]byte(token), 100), 0)
		return done
	case FaultDrip:
		delay := f.Delay
		if delay == 0 {
			delay = time.Second
		}
		f.stream(w, r, []byte(`{"data":[`), []byte(" "), delay)
		return done
	case FaultRepeatCursor:
		a.body = nextCursor.ReplaceAll(a.body, []byte(`"next":"cmwszwhac0000ja7d3k8d0g4v"`))
	case FaultRedirect:
		return answer{status: http.StatusFound, header: f.Header.Clone()}
	case FaultDouble:
		a.body = dataArray.ReplaceAll(a.body, []byte("[$1,$1]"))
	case FaultNulls:
		a.body = tokenBegin.ReplaceAll(a.body, []byte(`{"timeoutAt":null,"completedAt":null,"output":null,`+
			`"idempotencyKey":null,"new":{"a":[1,{"b":null}]},"id":`))
	}
	return a
}

func (f *activeFault) stream(w http.ResponseWriter, r *http.Request, begin, chunk []byte, delay time.Duration) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Fault", strconv.Itoa(int(f.Kind)))
	_, err := w.Write(begin)
	for err == nil && r.Context().Err() == nil {
		if delay > 0 && !pause(r, delay) {
			return
		}
		_, err = w.Write(chunk)
		flush(w)
	}
}

func flush(w http.ResponseWriter) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}
