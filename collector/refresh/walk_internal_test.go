package refresh

import (
	"errors"
	"fmt"
	"testing"

	"waitpoint_exporter/client"
)

// TestGiveUp holds that a walk without end begins again, and that one that was
// only interrupted goes on.
func TestGiveUp(t *testing.T) {
	for err, goesOn := range map[error]bool{
		fmt.Errorf("page 7: %w", &client.Error{Reason: client.ReasonInvalidResponse, Err: client.ErrEndless}):  false,
		fmt.Errorf("page 7: %w", &client.Error{Reason: client.ReasonInvalidResponse, Err: errors.New("HTML")}): true,
		&client.Error{Reason: client.ReasonServer, Status: 502}:                                                true,
	} {
		e := New(nil, Options{})
		e.walk = &walk{}
		e.giveUp(err)
		if (e.walk != nil) != goesOn {
			t.Errorf("%v: it goes on: %t", err, e.walk != nil)
		}
	}
}
