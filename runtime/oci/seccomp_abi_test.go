package oci

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What the kernel cannot run is not filtered; all else is as before.
func TestSeccompLeavesOutAbsentABIs(t *testing.T) {
	whole := runtimeDefault(Node{Arch: "amd64"}, Capabilities)
	if want := []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}; !slices.Equal(whole.Architectures, want) {
		t.Fatalf("architectures %v, want %v", whole.Architectures, want)
	}
	less := runtimeDefault(Node{Arch: "amd64", AbsentABIs: []specs.Arch{specs.ArchX32}}, Capabilities)
	if want := []specs.Arch{specs.ArchX86_64, specs.ArchX86}; !slices.Equal(less.Architectures, want) {
		t.Errorf("architectures %v, want %v", less.Architectures, want)
	}
	if len(less.Syscalls) != len(whole.Syscalls) {
		t.Errorf("%d rules, want %d", len(less.Syscalls), len(whole.Syscalls))
	}
}
