package pods

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Linux' real-time signals as glibc numbers them (signal(7)): a container's C
// library keeps 32 and 33 for itself.
const (
	sigRTMin = 34
	sigRTMax = 64
)

// parseSignal understands what images have in STOPSIGNAL: SIGTERM, TERM, 15,
// SIGRTMIN+3. With an error it returns SIGTERM, as for "".
func parseSignal(s string) (syscall.Signal, error) {
	s = strings.ToUpper(strings.TrimSpace(s))
	if s == "" {
		return unix.SIGTERM, nil
	}
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > sigRTMax {
			return unix.SIGTERM, fmt.Errorf("signal %q is not in 1..%d", s, sigRTMax)
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(s, "SIG")
	for base, from := range map[string]int{"RTMIN": sigRTMin, "RTMAX": sigRTMax} {
		rest, ok := strings.CutPrefix(name, base)
		if !ok {
			continue
		}
		offset, err := strconv.Atoi("0" + strings.TrimLeft(rest, "+-"))
		if strings.HasPrefix(rest, "-") {
			offset = -offset
		}
		if n := from + offset; err == nil && n >= sigRTMin && n <= sigRTMax {
			return syscall.Signal(n), nil
		}
		return unix.SIGTERM, fmt.Errorf("signal %q is unknown", s)
	}
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	return unix.SIGTERM, fmt.Errorf("signal %q is unknown", s)
}
