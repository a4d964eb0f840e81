package facts

import (
	"errors"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// x32Bit marks a system call of the x32 ABI (__X32_SYSCALL_BIT in
// asm/unistd.h).
const x32Bit = 0x40000000

// absentABIs returns the architectures of the default seccomp profile whose
// system calls this kernel does not know: it cannot run what they are filtered
// for, and compiling their part of the filter is a good third of what seccomp
// costs a container's start.
func absentABIs(root string) []specs.Arch {
	var out []specs.Arch
	// The sysctl comes with CONFIG_IA32_EMULATION (arch/x86/entry/vdso).
	if exists(root, "proc/sys/kernel") && !exists(root, "proc/sys/abi/vsyscall32") {
		out = append(out, specs.ArchX86)
	}
	if _, _, err := unix.RawSyscall(unix.SYS_GETPID|x32Bit, 0, 0, 0); errors.Is(err, unix.ENOSYS) {
		out = append(out, specs.ArchX32)
	}
	return out
}
