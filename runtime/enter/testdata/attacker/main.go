// Command attacker is the first process of a container that attacks whatever
// enters it: it looks for processes that have not yet executed their command, opens
// their program and memory, and traces them. What it gets it writes to a report, a
// JSON object a line.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

type finding struct {
	Pid      int
	Before   bool // it was still the helper after all attempts
	Exe, Mem string
	Trace    string
	Status   map[string]string
	FDs      []string
	Secret   bool
	Environ  string
	Late     string // writing to the program when it is over
}

func main() {
	runtime.LockOSThread()
	secret := []byte(os.Getenv("TERCES"))
	slices.Reverse(secret)
	report, err := os.Create("/tmp/report")
	if err != nil {
		panic(err)
	}
	out := json.NewEncoder(report)
	done := map[int]bool{os.Getpid(): true}
	held := map[int]int{}
	for {
		if _, err := os.Stat("/tmp/end"); err == nil {
			break
		}
		for _, pid := range processes() {
			if done[pid] {
				continue
			}
			if !isHelper(pid) {
				done[pid] = true
				continue
			}
			done[pid] = true
			f := attack(pid, secret, held)
			if err := out.Encode(f); err != nil {
				panic(err)
			}
		}
	}
	patience = time.Now().Add(30 * time.Second)
	for pid, fd := range held {
		_ = out.Encode(finding{Pid: pid, Late: openAgain(fd)})
	}
	_ = out.Encode(finding{Late: "end"})
	select {}
}

func processes() []int {
	var pids []int
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func isHelper(pid int) bool {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return bytes.HasPrefix(line, []byte("davit-helper\x00"))
}

func attack(pid int, secret []byte, held map[int]int) finding {
	f := finding{Pid: pid}
	dir := fmt.Sprintf("/proc/%d/", pid)
	fd, err := unix.Open(dir+"exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	f.Exe = text(err)
	exe := err == nil
	mem, err := unix.Open(dir+"mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	f.Mem = text(err)
	if err == nil {
		defer unix.Close(mem)
	}
	err = unix.PtraceSeize(pid)
	if err == nil {
		err = unix.PtraceInterrupt(pid)
		var status unix.WaitStatus
		for wait := err == nil; wait; wait = errors.Is(err, unix.EINTR) {
			_, err = unix.Wait4(pid, &status, unix.WALL, nil)
		}
		defer unix.PtraceDetach(pid)
	}
	f.Trace = text(err)
	f.Before = isHelper(pid)
	if exe && f.Before {
		held[pid] = fd
	} else if exe {
		_ = unix.Close(fd)
	}
	if !f.Before || err != nil {
		return f
	}
	f.Status = map[string]string{}
	status, _ := os.ReadFile(dir + "status")
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		f.Status[name] = strings.TrimSpace(value)
	}
	fds, _ := filepath.Glob(dir + "fd/*")
	for _, name := range fds {
		to, _ := os.Readlink(name)
		f.FDs = append(f.FDs, filepath.Base(name)+" "+to)
	}
	environ, _ := os.ReadFile(dir + "environ")
	f.Environ = string(environ)
	f.Secret = search(dir, mem, secret)
	return f
}

// search looks for a text in the memory of a stopped process.
func search(dir string, mem int, secret []byte) bool {
	maps, _ := os.ReadFile(dir + "maps")
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x r", &from, &to); err != nil || to-from > 64<<20 {
			continue
		}
		buf := make([]byte, to-from)
		n, _ := unix.Pread(mem, buf, from)
		if n > 0 && bytes.Contains(buf[:n], secret) {
			return true
		}
	}
	return false
}

// patience is for the last that run the program.
var patience time.Time

// openAgain opens a program for writing, once nobody runs it any more.
func openAgain(fd int) string {
	again, err := 0, error(unix.ETXTBSY)
	for ; errors.Is(err, unix.ETXTBSY) && time.Now().Before(patience); time.Sleep(time.Millisecond) {
		again, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	}
	if err == nil {
		_ = unix.Close(again)
	}
	return text(err)
}

func text(err error) string {
	if err == nil {
		return "done"
	}
	return err.Error()
}
