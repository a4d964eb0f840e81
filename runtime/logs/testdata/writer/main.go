// Command writer is the container in the tests of the log pump: it prints
// numbered lines as fast as it can, or at a pace.
//
//	writer FROM TO WIDTH [PAUSE EVERY]
//
// Each line is its number, a space and letters up to WIDTH bytes. Every 1000th
// goes to standard error, too. With PAUSE it sleeps so long after EVERY lines.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	from, to, width := number(1), number(2), number(3)
	pause, every := time.Duration(0), 1
	if len(os.Args) > 5 {
		pause, _ = time.ParseDuration(os.Args[4])
		every = number(5)
	}
	fill := strings.Repeat("abcdefghijklmnopqrstuvwxyz", width/26+1)
	out := bufio.NewWriterSize(os.Stdout, 32<<10)
	for i := from; i <= to; i++ {
		head := strconv.Itoa(i) + " "
		out.WriteString(head)
		out.WriteString(fill[:max(0, width-len(head)-1)])
		out.WriteByte('\n')
		if i%1000 == 0 {
			fmt.Fprintln(os.Stderr, i)
		}
		if pause > 0 && i%every == 0 {
			out.Flush()
			time.Sleep(pause)
		}
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "writer:", err)
		os.Exit(1)
	}
}

func number(arg int) int {
	n, err := strconv.Atoi(os.Args[arg])
	if err != nil {
		fmt.Fprintln(os.Stderr, "writer:", err)
		os.Exit(2)
	}
	return n
}
