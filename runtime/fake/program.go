package fake

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"syscall"
	"time"

	"github.com/davit-agent/davit/runtime"
)

// Program is what a container's process does.
type Program struct {
	Fail       string        // not empty: it cannot be started, and this is why
	ExitCode   int32         // at its own end
	RunFor     time.Duration // until it ends of itself; 0 is never, less is at once
	IgnoreTERM bool          // only SIGKILL ends it; else SIGTERM does, with TermCode
	TermCode   int32
	OOM        bool // its own end is an OOM kill
	// React, if set, tells what a signal other than SIGKILL does instead: it ends
	// with code so long after.
	React func(sig syscall.Signal) (after time.Duration, code int32, ends bool)
}

// ProgramOf returns what podtool does with the container's arguments. Any other
// program runs for ever and ends with 0 at SIGTERM.
func ProgramOf(cfg *runtime.ContainerConfig) Program {
	var args []string
	if cfg.Spec != nil && cfg.Spec.Process != nil {
		args = cfg.Spec.Process.Args
	}
	if len(args) == 0 {
		return Program{Fail: "args must not be empty"}
	}
	if path.Base(args[0]) == "none" {
		return Program{Fail: fmt.Sprintf("exec: %q: no such file or directory", args[0])}
	}
	if path.Base(args[0]) != "podtool" || len(args) < 2 {
		return Program{}
	}
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	d, err := time.ParseDuration(arg(2))
	if err != nil {
		d = 0
	}
	switch args[1] {
	case "exit":
		code, _ := strconv.ParseInt(arg(2), 10, 32)
		wait, err := time.ParseDuration(arg(3))
		if err != nil || wait <= 0 {
			wait = -1
		}
		// Go's runtime has SIGTERM end a program without a handler with 2, even
		// as PID 1.
		return Program{ExitCode: int32(code), RunFor: wait, TermCode: 2}
	case "sleep":
		code, _ := strconv.ParseInt(arg(3), 10, 32)
		return Program{RunFor: d, TermCode: int32(code)}
	case "ignore-term":
		return Program{RunFor: d, IgnoreTERM: true}
	case "lines", "write", "shm", "sysv", "mqueue", "id", "get", "read":
		return Program{RunFor: -1}
	case "oom":
		return Program{ExitCode: 128 + int32(syscall.SIGKILL), RunFor: -1}
	}
	return Program{}
}

// signalled returns how a program ends of a signal, and how long after it; false:
// it goes on.
func (p Program) signalled(sig syscall.Signal) (after time.Duration, code int32, ends bool) {
	switch {
	case sig == syscall.SIGKILL:
		return 0, 128 + int32(sig), true
	case p.React != nil:
		return p.React(sig)
	case sig == syscall.SIGTERM, sig == syscall.SIGINT:
		return 0, p.TermCode, !p.IgnoreTERM
	}
	return 0, 0, false
}

// execute runs one of podtool's commands as an exec; ended is closed when the
// container ends, done when the caller gives up.
func execute(cfg *runtime.ExecConfig, ended, done <-chan struct{}) (int, error) {
	args := cfg.Command
	if path.Base(args[0]) != "podtool" || len(args) < 2 {
		return 0, fmt.Errorf("exec: %q: no such file or directory", args[0])
	}
	out := cfg.Stdout
	if out == nil {
		out = io.Discard
	}
	switch args[1] {
	case "echo":
		if cfg.Stdin == nil {
			return 0, nil
		}
		_, err := io.Copy(out, cfg.Stdin)
		return 0, err
	case "exit":
		return strconv.Atoi(args[2])
	case "lines":
		count, err := strconv.Atoi(args[2])
		for i := 1; i <= count && err == nil; i++ {
			_, err = fmt.Fprintf(out, "line %d\n", i)
		}
		return 0, err
	case "sleep", "tty":
		for {
			select {
			case <-ended:
				return 128 + int(syscall.SIGKILL), nil
			case <-done:
				return 0, nil
			case s, ok := <-cfg.Resize:
				if !ok {
					cfg.Resize = nil
				} else if args[1] == "tty" {
					fmt.Fprintf(out, "rows %d columns %d\r\n", s.Height, s.Width)
				}
			}
		}
	}
	return 2, nil
}
