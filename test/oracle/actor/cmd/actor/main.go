// Command actor performs what package actor describes. It is the program of the
// containers of scenarios.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/davit-agent/davit/test/oracle/actor"
)

// stateDir holds the counters of attempts, a volume that outlives containers.
const stateDir = "/state"

// startFile tells probes and hooks which attempt this is and when it began. It
// lies in the container's own file system, which is new in each attempt.
const startFile = "/tmp/actor.json"

// start is what startFile holds.
type start struct {
	Args    []string
	Attempt int
	At      time.Time
}

func main() {
	args := os.Args[1:]
	if len(args) > 0 && (args[0] == "check" || args[0] == "hook") {
		os.Exit(call(args))
	}
	code, err := perform(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "actor:", err)
		code = 2
	}
	os.Exit(code)
}

// call is a probe or a hook.
func call(args []string) int {
	a := &actor.Attempt{}
	var since time.Duration
	if args[0] == "check" {
		var s start
		data, err := os.ReadFile(startFile)
		if err == nil {
			err = json.Unmarshal(data, &s)
		}
		var p *actor.Program
		if err == nil {
			p, err = actor.Parse(s.Args)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "actor:", err)
			return 2
		}
		a, since = p.Attempt(s.Attempt), time.Since(s.At)
	}
	r := a.Exec(args, since)
	time.Sleep(r.Takes)
	fmt.Print(r.Output)
	return r.Code
}

func perform(args []string) (int, error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	began := time.Now()
	p, err := actor.Parse(args)
	if err != nil {
		return 0, err
	}
	n := 0
	if len(p.Attempts) > 1 {
		if n, err = count(p.Name); err != nil {
			return 0, err
		}
	}
	a := p.Attempt(n)
	if data, err := json.Marshal(start{args, n, began}); err == nil {
		// A read-only file system has no start file; then there is nothing to check.
		_ = os.WriteFile(startFile, data, 0o644)
	}
	for _, text := range a.Say {
		fmt.Println(text)
	}
	for _, m := range a.Messages {
		if err := os.WriteFile(m.File, []byte(m.Text), 0o644); err != nil {
			return 0, err
		}
	}
	for _, s := range a.Servers {
		if err := serve(a, s, began); err != nil {
			return 0, err
		}
	}
	return live(a, began, signals), nil
}

// live waits for the attempt's end and returns its exit code.
func live(a *actor.Attempt, began time.Time, signals <-chan os.Signal) int {
	var sent []actor.Sent
	for {
		end, ends := a.End(sent...)
		var over <-chan time.Time
		if ends {
			over = time.After(time.Until(began.Add(end.At)))
		}
		select {
		case s := <-signals:
			name := map[os.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGUSR1: "USR1"}[s]
			sent = append(sent, actor.Sent{Signal: name, At: time.Since(began)})
		case <-over:
			if end.OOM {
				takeMemory()
			}
			return int(end.Code)
		}
	}
}

// count returns how many attempts there were before and counts this one.
func count(name string) (int, error) {
	file := filepath.Join(stateDir, filepath.Base(name))
	n := 0
	data, err := os.ReadFile(file)
	if err == nil {
		n, err = strconv.Atoi(strings.TrimSpace(string(data)))
	}
	if err != nil && !os.IsNotExist(err) {
		return 0, fmt.Errorf("counting attempts: %w", err)
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(n+1)), 0o644); err != nil {
		return 0, fmt.Errorf("counting attempts, for which %s is to be a volume: %w", stateDir, err)
	}
	return n, nil
}

// takeMemory takes memory until the kernel ends it.
func takeMemory() {
	var all [][]byte
	for {
		b := make([]byte, 4<<20)
		for i := range b {
			b[i] = byte(i)
		}
		all = append(all, b)
		if len(all) > 1<<14 { // 64 GiB: there is no limit
			return
		}
	}
}
