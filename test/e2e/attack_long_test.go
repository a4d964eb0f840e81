//go:build long

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// A minute with a hundred updates of the manifest a second, and one in which
// nearly all of them become updates of the volume.
func TestLongReaderSeesWholeVolumes(t *testing.T) {
	for _, perSecond := range []int{100, oftenest} {
		t.Run(fmt.Sprint(perSecond), func(t *testing.T) { readWhileUpdated(t, time.Minute, perSecond, 0) })
	}
}

// And davit killed twice a second.
func TestLongReaderWhileDavitIsKilled(t *testing.T) {
	readWhileUpdated(t, 30*time.Second, oftenest, 60)
}

// As many containers as start in two minutes.
func TestLongSubPathAttack(t *testing.T) { attackSubPaths(t, 2*time.Minute) }
