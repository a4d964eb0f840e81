package enter

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// call is struct seccomp_data.
type call struct {
	nr, arch uint32
	ip       uint64
	args     [6]uint64
}

// verdict is what a seccomp program says of a call: the classic BPF that the kernel
// admits for seccomp (kernel/seccomp.c, seccomp_check_filter).
func verdict(prog []byte, c call) (uint32, error) {
	var data [64]byte
	binary.NativeEndian.PutUint32(data[0:], c.nr)
	binary.NativeEndian.PutUint32(data[4:], c.arch)
	binary.NativeEndian.PutUint64(data[8:], c.ip)
	for i, a := range c.args {
		binary.NativeEndian.PutUint64(data[16+8*i:], a)
	}
	var a, x uint32
	var mem [16]uint32
	for pc := 0; pc < len(prog)/8; pc++ {
		ins := prog[8*pc:]
		code, jt, jf, k := binary.NativeEndian.Uint16(ins), int(ins[2]), int(ins[3]), binary.NativeEndian.Uint32(ins[4:])
		operand := k
		if code&unix.BPF_X != 0 {
			operand = x
		}
		jump := func(yes bool) {
			if yes {
				pc += jt
			} else {
				pc += jf
			}
		}
		switch code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = binary.NativeEndian.Uint32(data[k:])
		case unix.BPF_LD | unix.BPF_IMM:
			a = k
		case unix.BPF_LDX | unix.BPF_IMM:
			x = k
		case unix.BPF_LD | unix.BPF_MEM:
			a = mem[k]
		case unix.BPF_LDX | unix.BPF_MEM:
			x = mem[k]
		case unix.BPF_ST:
			mem[k] = a
		case unix.BPF_STX:
			mem[k] = x
		case unix.BPF_MISC | unix.BPF_TAX:
			x = a
		case unix.BPF_MISC | unix.BPF_TXA:
			a = x
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, unix.BPF_ALU | unix.BPF_AND | unix.BPF_X:
			a &= operand
		case unix.BPF_ALU | unix.BPF_OR | unix.BPF_K, unix.BPF_ALU | unix.BPF_OR | unix.BPF_X:
			a |= operand
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(k)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X:
			jump(a == operand)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGT | unix.BPF_X:
			jump(a > operand)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGE | unix.BPF_X:
			jump(a >= operand)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_X:
			jump(a&operand != 0)
		case unix.BPF_RET | unix.BPF_K:
			return k, nil
		case unix.BPF_RET | unix.BPF_A:
			return a, nil
		default:
			return 0, fmt.Errorf("instruction %d is %#x", pc, code)
		}
	}
	return 0, fmt.Errorf("the program does not return")
}

// sameVerdicts asks two programs about every call of every ABI of this machine, with
// arguments that profiles tell apart, and about those of another machine.
func sameVerdicts(t testing.TB, a, b []byte) {
	t.Helper()
	seen := map[uint32]int{}
	args := []uint64{0, 1, 2, 8, 16, 40, 41, 0x20000, 0x20008, unix.CLONE_NEWUSER, unix.CLONE_NEWNS | unix.CLONE_NEWPID, 1<<32 - 1, 1 << 32, 1<<64 - 1}
	for _, arch := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_ARM} {
		for _, base := range []uint32{0, 0x40000000} {
			for nr := range uint32(700) {
				for _, arg := range args {
					c := call{nr: base + nr, arch: arch, args: [6]uint64{arg, arg, arg, arg, arg, arg}}
					va, erra := verdict(a, c)
					vb, errb := verdict(b, c)
					must(t, erra)
					must(t, errb)
					if va != vb {
						t.Fatalf("call %d of architecture %#x with arguments %#x: verdict %#x, by runc %#x", c.nr, arch, arg, va, vb)
					}
					seen[va]++
				}
			}
		}
	}
	// A comparison of nothing would find no difference either.
	if len(seen) < 3 || seen[unix.SECCOMP_RET_ALLOW] < 1000 {
		t.Errorf("verdicts %v", seen)
	}
}
