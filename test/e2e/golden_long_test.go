//go:build long

package e2e

import (
	"testing"
	"time"

	"github.com/davit-agent/davit/test/oracle/scenario"
)

func every(*scenario.Scenario) bool { return true }

// All scenarios that manifests can play, not only those of TestGoldens.
func TestLongGoldens(t *testing.T) {
	playGoldens(t, chosen(t, every), 0)
}

// notKilled are scenarios in which a kill of davit may be told.
var notKilled = map[string]string{
	"image-pull-refused": "the next davit tries a pull that failed at once, so ErrImagePull shows again",
}

// All of them again, with kill -9 of davit over and over: nobody can tell.
func TestLongGoldensKilled(t *testing.T) {
	playGoldens(t, chosen(t, func(s *scenario.Scenario) bool { return notKilled[s.Name] == "" }), 8*time.Second)
}
