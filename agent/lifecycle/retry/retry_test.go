package retry

import (
	"testing"
	"time"
)

func TestDoubled(t *testing.T) {
	for _, c := range []struct {
		n    int32
		want time.Duration
	}{{-1, 10}, {0, 10}, {1, 10}, {2, 20}, {5, 160}, {6, 300}, {7, 300}, {1 << 30, 300}} {
		if got := doubled(pullDelay, pullMax, c.n); got != c.want*time.Second {
			t.Errorf("%d: %v", c.n, got)
		}
	}
}
