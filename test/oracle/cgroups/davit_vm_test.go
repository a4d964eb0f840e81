//go:build vm

package cgroups

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDavitV2 compares davit's values in the VM with v2.yaml. DAVIT names the
// program.
func TestDavitV2(t *testing.T) {
	program := os.Getenv("DAVIT")
	if program == "" {
		t.Fatal("DAVIT is not set: it names the davit that is run in the VM")
	}
	dir := job(t, "cgroups.sh")
	place(t, program, filepath.Join(dir, "davit"))
	place(t, "../../../systemd/davit.service", filepath.Join(dir, "davit.service"))
	place(t, "v2.yaml", filepath.Join(dir, "v2.yaml"))
	boot(t, dir)
}
