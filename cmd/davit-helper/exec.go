package main

import (
	"os"
	"strconv"

	"github.com/davit-agent/davit/runtime/enter/inside"
)

// filters writes the seccomp programs of a process.
func filters(arg string) error {
	pid, err := strconv.Atoi(arg)
	if err != nil || pid < 1 {
		return errUsage
	}
	f, err := inside.Filters(pid)
	if err != nil {
		return err
	}
	return inside.WriteFilters(os.Stdout, f)
}
