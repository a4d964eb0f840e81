package pods

import (
	"testing"
	"testing/synctest"
	"time"
)

// Starts that hang hold up another one for startPatience at most, and a slot that
// was given back is taken at once.
func TestSlotsAreACourtesy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := make(slots, 1)
		first := s.take(t.Context())
		began := time.Now()
		second := s.take(t.Context())
		if waited := time.Since(began); waited != startPatience {
			t.Errorf("waited %v, want %v", waited, startPatience)
		}
		second() // had none: gives none back
		if len(s) != 1 {
			t.Errorf("%d slots are taken, want the first", len(s))
		}
		first()
		began = time.Now()
		s.take(t.Context())()
		if waited := time.Since(began); waited != 0 || len(s) != 0 {
			t.Errorf("waited %v for a free slot; %d taken", waited, len(s))
		}
	})
}
