package refresh

import (
	"time"

	"waitpoint_exporter/collector/index"
)

// Source tells how an environment is doing. It must be safe for concurrent use;
// *Environment is one.
type Source interface {
	Snapshot() *index.Snapshot
	State() State
}

// A View is what pages need of an environment.
type View struct {
	Name, Project string
	Source        Source
	// MaxStaleness is the age past which the snapshot is not shown in metrics.
	MaxStaleness time.Duration
	// DashboardURL is the environment's page in Trigger.dev's dashboard, without a
	// slash at its end; empty if that is not known.
	DashboardURL string
	// Stuck is the longest time after which tokens count as stuck, as its user wrote
	// it; empty if there is none.
	Stuck string
}

// Title names the environment to people: project/name, or the name alone.
func (v View) Title() string {
	if v.Project != "" {
		return v.Project + "/" + v.Name
	}
	return v.Name
}
