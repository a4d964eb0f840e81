// Command davit-helper is the small static program that davit embeds and lays
// beside the containers it runs. It must outlive the agent, start in a bare
// read-only root, and stay small, so it imports nothing beyond the standard
// library, x/sys and the packages of the log pump and of runtime/enter/inside.
//
//	davit-helper logs --dir DIR   the node's log pump (runtime/logs/pump)
//	davit-helper init             PID 1 of pods that share a PID namespace
//	davit-helper hold             waits for the end of its standard input
//	davit-helper exec             runs a command in a container (runtime/enter/inside)
//	davit-helper filters PID      writes the seccomp programs of a process
//	davit-helper version          hash and version of the program
//
// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a pump serves DIR already.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/davit-agent/davit/runtime/enter/inside"
	"github.com/davit-agent/davit/runtime/logs/pump"
)

const usage = `usage: davit-helper logs --dir DIR [--replace]
       davit-helper filters PID
       davit-helper init | hold | exec | version
`

// stamp is davit's version, set by the linker. It is also what makes builds of
// the same code for different versions different programs.
var stamp = "unreleased"

var errUsage = errors.New("wrong usage")

func main() {
	err := run(os.Args[1:])
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case errors.Is(err, pump.ErrServed):
		fmt.Fprintln(os.Stderr, "davit-helper:", err)
		os.Exit(3)
	default:
		fmt.Fprintln(os.Stderr, "davit-helper:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	if args[0] == "logs" {
		return logs(args[1:])
	}
	if args[0] == "filters" && len(args) == 2 {
		return filters(args[1])
	}
	if len(args) != 1 {
		return errUsage
	}
	switch args[0] {
	case "init":
		return initProcess()
	case "hold":
		return hold(os.Stdin)
	case "exec":
		return inside.Serve()
	case "version":
		v, err := pump.Version("/proc/self/exe")
		if err != nil {
			return err
		}
		fmt.Println(v, stamp)
		return nil
	}
	return errUsage
}
