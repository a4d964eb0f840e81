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

// All of them again, with kill -9 of davit over and over: nobody can tell.
func TestLongGoldensKilled(t *testing.T) {
	playGoldens(t, chosen(t, every), 8*time.Second)
}
