// Command podtool is the program in test images: one small subcommand for each
// thing that a test wants a container to do. It is static, small, and uses the
// standard library and x/sys only.
package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"time"
)

// command runs with the arguments after its name and returns the exit code.
type command struct {
	usage string
	args  int // at least
	run   func(args []string) int
}

var commands = map[string]command{
	"exit":        {"exit CODE [AFTER]: wait AFTER (a duration), end with CODE", 1, exit},
	"sleep":       {"sleep [DURATION [CODE]]: sleep, for ever by default, and end with 0; with CODE, 0 by default, at SIGTERM", 0, sleep},
	"ignore-term": {"ignore-term [DURATION]: sleep, whatever signal but SIGKILL comes", 0, ignoreTerm},
	"lines":       {"lines N [PER-SECOND [BYTES]]: print N numbered lines, at full speed by default; N 0 is for ever", 1, lines},
	"echo":        {"echo: copy stdin to stdout until it ends", 0, echo},
	"bytes":       {"bytes N: print N bytes of noise, the same every time", 1, printNoise},
	"hash":        {"hash: print length and SHA-256 of stdin", 0, hash},
	"tcp":         {"tcp ADDR: answer connections, by the command in their first line: echo, bytes N, hash, end, reset, hold", 1, tcp},
	"oom":         {"oom: take memory until killed", 0, oom},
	"serve":       {"serve ADDR [TEXT]: HTTP server; / says TEXT, /healthz ok, /host the host name, /file?path=P a file", 1, serve},
	"get":         {"get URL [TRIES]: print what an HTTP server answers", 1, get},
	"write":       {"write FILE TEXT: write a file", 2, write},
	"read":        {"read FILE [WAIT]: print a file, waiting for it to appear", 1, read},
	"whole":       {"whole DIR DURATION: read a volume over and over; its files sum and self tell whether they are whole", 2, whole},
	"swap":        {"swap DIR NAME TARGET...: exchange DIR/NAME for a symbolic link to TARGET and back, over and over", 3, swap},
	"id":          {"id: print uid, gid, groups, directory, capabilities and seccomp mode", 0, id},
	"tty":         {"tty: print rows and columns of the terminal, again at each SIGWINCH", 0, tty},
	"shm":         {"shm put NAME TEXT | get NAME: POSIX shared memory", 2, shm},
	"sysv":        {"sysv put KEY TEXT | get KEY: System V shared memory", 2, sysv},
	"mqueue":      {"mqueue put NAME TEXT | get NAME: POSIX message queue", 2, mqueue},
}

func main() {
	if len(os.Args) >= 2 {
		c, ok := commands[os.Args[1]]
		if ok && len(os.Args)-2 >= c.args {
			os.Exit(c.run(os.Args[2:]))
		}
	}
	names := make([]string, 0, len(commands))
	for name := range commands {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintln(os.Stderr, "podtool", commands[name].usage)
	}
	os.Exit(2)
}

// fail prints an error and returns the exit code of a failure.
func fail(err error) int {
	fmt.Fprintln(os.Stderr, "podtool:", err)
	return 1
}

// number returns the i-th argument as a number, def without one.
func number(args []string, i, def int) int {
	if i >= len(args) {
		return def
	}
	n, err := strconv.Atoi(args[i])
	if err != nil {
		os.Exit(fail(err))
	}
	return n
}

// duration returns the i-th argument as a duration, def without one.
func duration(args []string, i int, def time.Duration) time.Duration {
	if i >= len(args) {
		return def
	}
	d, err := time.ParseDuration(args[i])
	if err != nil {
		os.Exit(fail(err))
	}
	return d
}
