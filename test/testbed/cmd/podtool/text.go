package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lines prints "line <n>" with n counted from 1, filled up with x to the width
// asked for. At full speed output is buffered as a busy program's is; every
// line is there when it ends.
func lines(args []string) int {
	n, rate, width := number(args, 0, 0), number(args, 1, 0), number(args, 2, 0)
	out := bufio.NewWriterSize(os.Stdout, 4096)
	var tick <-chan time.Time
	if rate > 0 {
		t := time.NewTicker(time.Second / time.Duration(rate))
		defer t.Stop()
		tick = t.C
	}
	for i := 1; n == 0 || i <= n; i++ {
		s := fmt.Sprintf("line %d", i)
		if len(s)+1 < width {
			s += " " + strings.Repeat("x", width-len(s)-1)
		}
		if _, err := fmt.Fprintln(out, s); err != nil {
			return fail(err)
		}
		if tick != nil {
			if err := out.Flush(); err != nil {
				return fail(err)
			}
			<-tick
		}
	}
	if err := out.Flush(); err != nil {
		return fail(err)
	}
	return 0
}

func echo([]string) int {
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		return fail(err)
	}
	return 0
}

func write(args []string) int {
	if err := os.WriteFile(args[0], []byte(args[1]), 0o644); err != nil {
		return fail(err)
	}
	return 0
}

func read(args []string) int {
	deadline := time.Now().Add(duration(args, 1, 0))
	for {
		data, err := os.ReadFile(args[0])
		if err == nil {
			_, err = os.Stdout.Write(data)
		}
		if err == nil {
			return 0
		}
		if time.Now().After(deadline) {
			return fail(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// id prints who and where this process is, one "key: value" a line; the
// capability and seccomp lines are the kernel's own.
func id([]string) int {
	groups, err := os.Getgroups()
	if err != nil {
		return fail(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return fail(err)
	}
	fmt.Printf("uid: %d\ngid: %d\ngroups: %v\ndir: %s\n", os.Getuid(), os.Getgid(), groups, dir)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fail(err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp":
			fmt.Printf("%s: %s\n", key, strings.TrimSpace(value))
		}
	}
	return 0
}

func tty([]string) int {
	changed := windowChanges()
	for {
		size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			return fail(err)
		}
		fmt.Printf("rows %d columns %d\n", size.Row, size.Col)
		<-changed
	}
}
