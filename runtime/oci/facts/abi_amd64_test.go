package facts

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestAbsentABIs(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "proc/sys/kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := absentABIs(root); !slices.Contains(got, specs.ArchX86) {
		t.Errorf("%v: without the sysctl of the 32-bit vDSO there is no i386", got)
	}
	if err := os.MkdirAll(filepath.Join(root, "proc/sys/abi/vsyscall32"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := absentABIs(root); slices.Contains(got, specs.ArchX86) {
		t.Errorf("%v: the kernel runs i386", got)
	}
	if got := absentABIs(t.TempDir()); slices.Contains(got, specs.ArchX86) {
		t.Errorf("%v: without /proc nothing is known", got)
	}
}
