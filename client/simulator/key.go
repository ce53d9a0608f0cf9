package simulator

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Key is an additional key of an environment beside its root key, made for one
// integration (tr_<env>_sk_…).
type Key struct {
	Value string
	// Preset is the dashboard's name for the key's permissions. Empty: NoRestrictions,
	// the only preset that lets a key list tokens.
	Preset string
	// ExpiresAt is when it stops working. Zero: never.
	ExpiresAt time.Time
	Revoked   bool
}

// NoRestrictions is the preset of keys with the same permissions as the root key.
const NoRestrictions = "No restrictions"

// AddKeys adds keys to the environment and to all others with its root key. Keys with
// the same value are replaced.
func (e *Environment) AddKeys(keys ...Key) {
	e.sim.mu.Lock()
	defer e.sim.mu.Unlock()
	for _, k := range keys {
		e.bucket.keys[k.Value] = k
	}
}

// authorize finds the environment of a request. A refused request with an environment
// still counts against its rate limit.
func (s *Simulator) authorize(r *http.Request) (*Environment, answer) {
	key := strings.TrimSpace(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	var restricted bool
	opens := func(e *Environment) bool {
		if e.opts.Key == key {
			return true
		}
		k, ok := e.bucket.keys[key]
		restricted = k.Preset != "" && k.Preset != NoRestrictions
		return ok && !k.Revoked && (k.ExpiresAt.IsZero() || k.ExpiresAt.After(s.now()))
	}
	i := slices.IndexFunc(s.environments, opens)
	if i < 0 {
		return nil, jsonError(http.StatusUnauthorized, "Invalid API key")
	}
	e, refusal := s.pivot(s.environments[i], branchName(r.Header.Get("X-Trigger-Branch")))
	if refusal.status == 0 && restricted {
		refusal = jsonAnswer(http.StatusForbidden,
			[]byte(`{"error":"Unauthorized","code":"unauthorized","param":"access_token","type":"authorization"}`))
	}
	return e, refusal
}

// pivot returns the requested branch among the environments with the same root key.
func (s *Simulator) pivot(e *Environment, branch string) (*Environment, answer) {
	preview, dev := strings.HasPrefix(e.opts.Key, "tr_preview_"), strings.HasPrefix(e.opts.Key, "tr_dev_")
	switch {
	case preview && branch == "":
		return e, jsonError(http.StatusUnauthorized, "x-trigger-branch header required for preview env")
	case dev && branch == "default", !preview && !dev:
		branch = ""
	}
	i := slices.IndexFunc(s.environments, func(of *Environment) bool {
		return of.bucket == e.bucket && of.opts.Branch == branch
	})
	if i < 0 {
		return e, jsonError(http.StatusUnauthorized, "No matching branch env")
	}
	return s.environments[i], answer{}
}

// branchName returns the name of the branch in a ref.
func branchName(ref string) string {
	rest, ok := strings.CutPrefix(ref, "refs/")
	if !ok {
		return ref
	}
	kind, name, _ := strings.Cut(rest, "/")
	if slices.Contains([]string{"heads", "remotes", "tags", "pull", "merge", "release"}, kind) {
		return name
	}
	return ""
}
