package logs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime/helper/helpertest"
	"github.com/davit-agent/davit/runtime/logs"
	"github.com/davit-agent/davit/runtime/logs/spool"
)

// A process writes numbered lines in bursts at full speed while the pump is stopped and
// started, replaced by another version and the client restarted; files rotate,
// and followers join at random moments. Every line is there exactly once, for
// all of them.
func TestEveryLineOnce(t *testing.T) {
	const lines, width = 500_000, 100
	b := newBench(t)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pump := b.pump(b.helper)
	stdout, stderr := b.open("x", 1<<20)
	w := writer(t, stdout, stderr, 1, lines, width, "8ms", 2000)
	exited := make(chan error, 1)
	go func() { exited <- w.Wait() }()
	type follower struct {
		count *counter
		wait  func() error
	}
	var followers []follower
	other := helpertest.BuildOther(t)
	for round := 0; ; round++ {
		c := &counter{width: width}
		followers = append(followers, follower{c, b.follow(b.client, "x", c, nil)})
		time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
		if len(exited) > 0 && round >= 6 {
			break
		}
		switch round % 3 {
		case 0:
			b.end(pump, syscall.SIGTERM)
			time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
			pump = b.pump(b.helper)
		case 1:
			b.client.Release()
			b.client = b.newClient()
		case 2: // a successor of another version: the old one leaves by itself
			old := pump
			pump = b.pump(other)
			must(t, old.Wait())
			other, b.helper = b.helper, other
		}
	}
	must(t, <-exited)
	must(t, b.client.Close(t.Context(), "x"))
	b.count("x", width).want(t, "files", lines)
	for i, f := range followers {
		must(t, f.wait())
		f.count.want(t, fmt.Sprintf("follower %d", i), lines)
	}
	c := &counter{}
	must(t, b.client.Stream(t.Context(), logs.StreamOptions{Path: b.path("x")}, nil, c))
	if c.lines != lines/1000 {
		t.Errorf("%d lines on standard error, want %d", c.lines, lines/1000)
	}
}

// kill -9 of the pump is the one thing that may lose lines: no more per kill
// than one chunk and the beginning of a line. None is doubled or torn.
func TestKill(t *testing.T) {
	const lines, width, kills = 1_500_000, 100, 10
	b := newBench(t)
	pump := b.pump(b.helper)
	stdout, stderr := b.open("x", 4<<20)
	w := writer(t, stdout, stderr, 1, lines, width)
	for range kills {
		time.Sleep(10 * time.Millisecond)
		b.end(pump, syscall.SIGKILL)
		pump = b.pump(b.helper)
	}
	must(t, w.Wait())
	must(t, b.client.Close(t.Context(), "x"))
	b.count("x", width).wantKills(t, kills, lines)
}

// wantKills allows for what so many kills may cost; the file must tell of each.
func (c *counter) wantKills(t *testing.T, kills, lines int) {
	t.Helper()
	t.Logf("%d kills: %d of %d lines missing, of them %d torn, %d doubled, %d notices",
		kills, c.missing, lines, c.torn, c.doubled, c.notices)
	if c.doubled > 0 || c.last != lines || c.bad != "" || c.notices > kills {
		t.Errorf("%d doubled, last %d, bad %q, %d notices", c.doubled, c.last, c.bad, c.notices)
	}
	if most := c.notices * (80<<10/c.width + 2); c.missing > most {
		t.Errorf("%d lines missing, want at most %d", c.missing, most)
	}
}

// Close writes out all that is in the FIFOs and ends an unfinished line; the
// files are gone from the spool, the followers have all of it and end.
func TestCloseDrains(t *testing.T) {
	b := newBench(t)
	b.pump(b.helper)
	for i := range 20 {
		id := fmt.Sprint("x", i)
		stdout, stderr := b.open(id, 0)
		o, e := shimEnd(t, stdout), shimEnd(t, stderr)
		var so, se strings.Builder
		wait := b.follow(b.client, id, &so, &se)
		text := strings.Repeat("some line\n", 5000) + "the end"
		_, err := o.WriteString(text)
		must(t, err)
		_, err = e.WriteString("oops")
		must(t, err)
		o.Close()
		e.Close()
		must(t, b.client.Close(t.Context(), id))
		must(t, b.client.Close(t.Context(), id)) // idempotent
		if _, err := os.Stat(stdout); !os.IsNotExist(err) {
			t.Errorf("FIFO after Close: %v", err)
		}
		got, gotErr := b.text(id)
		if got != text+"\n" || gotErr != "oops\n" {
			t.Fatalf("round %d: got %d bytes ending in %q, and %q", i, len(got), tail(got), gotErr)
		}
		must(t, wait())
		if so.String() != got || se.String() != gotErr {
			t.Errorf("follower got %d bytes, %q", so.Len(), se.String())
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-40):] }

// A prompt is in the file, and with a follower, though its line has no end.
func TestPrompt(t *testing.T) {
	b := newBench(t)
	pump := b.pump(b.helper)
	stdout, stderr := b.open("x", 0)
	o := shimEnd(t, stdout)
	_ = shimEnd(t, stderr)
	var mu sync.Mutex
	var seen strings.Builder
	wait := b.follow(b.client, "x", locked{&mu, &seen}, nil)
	_, err := o.WriteString("password: ")
	must(t, err)
	eventually(t, "follower sees the prompt", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen.String() == "password: "
	})
	b.end(pump, syscall.SIGKILL)
	b.pump(b.helper)
	_, err = o.WriteString("****\nwelcome")
	must(t, err)
	must(t, b.client.Close(t.Context(), "x"))
	must(t, wait())
	if got := seen.String(); got != "password: ****\nwelcome\n" {
		t.Errorf("follower got %q", got)
	}
}

type locked struct {
	mu *sync.Mutex
	w  *strings.Builder
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Two hundred openings and closings leave no descriptor, no file and no process
// behind, on either side.
func TestNoLeaks(t *testing.T) {
	b := newBench(t)
	pump := b.pump(b.helper)
	cycle := func(i int) {
		id := fmt.Sprint("x", i%7)
		stdout, _ := b.open(id, 0)
		o := shimEnd(t, stdout)
		fmt.Fprintln(o, i)
		o.Close()
		must(t, b.client.Close(t.Context(), id))
	}
	for i := range 10 {
		cycle(i)
	}
	mine, its := fds(t, os.Getpid()), fds(t, pump.Process.Pid)
	for i := range 200 {
		cycle(i)
	}
	eventually(t, "descriptors are closed", func() bool {
		return fds(t, os.Getpid()) <= mine && fds(t, pump.Process.Pid) <= its
	})
	left, err := os.ReadDir(b.dir)
	must(t, err)
	for _, e := range left {
		if e.Name() != "pump.lock" && e.Name() != "pump.sock" {
			t.Errorf("left in the spool: %s", e.Name())
		}
	}
}

func fds(t *testing.T, pid int) int {
	t.Helper()
	e, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	must(t, err)
	return len(e)
}

// A log file that cannot be written blocks nobody: what is dropped is counted,
// and the file says so in place once it can be written again.
func TestDiskFull(t *testing.T) {
	const lines, width = 50_000, 100
	b := newBench(t)
	must(t, os.MkdirAll(b.out, 0o755))
	must(t, syscall.Mount("davit-logs-test", b.out, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, syscall.Unmount(b.out, syscall.MNT_DETACH)) })
	pump := b.pump(b.helper)
	stdout, stderr := b.open("x", 100<<20)
	ballast := b.out + "/ballast"
	must(t, os.WriteFile(ballast, make([]byte, 256<<10), 0o600))
	must(t, writer(t, stdout, stderr, 1, lines, width).Wait()) // it ends: nothing blocks it
	eventually(t, "losses are counted", func() bool { return b.status().LostBytes > 0 })
	must(t, os.Remove(ballast))
	must(t, writer(t, stdout, stderr, lines+1, lines+10, width).Wait())
	must(t, b.client.Close(t.Context(), "x"))
	lost := b.status().LostBytes
	b.end(pump, syscall.SIGTERM)

	out, _ := b.text("x")
	var told int64
	rest := ""
	for line := range strings.Lines(out) {
		var n, l int64
		if _, err := fmt.Sscanf(line, "[davit: %d bytes of stdout (%d line ends) lost here", &n, &l); err == nil {
			told += n
			if !strings.Contains(line, "no space left on device") {
				t.Errorf("no reason in %q", line)
			}
			continue
		}
		rest += line
	}
	c := &counter{width: width}
	_, _ = c.Write([]byte(rest))
	if c.bad != "" || c.doubled > 0 || c.last != lines+10 {
		t.Errorf("last %d, doubled %d, bad %q", c.last, c.doubled, c.bad)
	}
	if told == 0 || told < int64(c.missing)*width-width || told > int64(c.missing)*width {
		t.Errorf("%d lines are missing; the file tells of %d bytes", c.missing, told)
	}
	if lost < told {
		t.Errorf("the pump counted %d bytes, the file tells of %d", lost, told)
	}
}

// Only one pump serves a directory.
func TestSecondPump(t *testing.T) {
	b := newBench(t)
	b.pump(b.helper)
	out, err := exec.Command(b.helper, "logs", "--dir", b.dir).CombinedOutput()
	if code := err.(*exec.ExitError).ExitCode(); code != 3 || !strings.Contains(string(out), "serves the directory already") {
		t.Errorf("a second pump: exit code %d, %s", code, out)
	}
}

// A successor that dies before it has taken over changes nothing.
func TestHandoverGivenUp(t *testing.T) {
	b := newBench(t)
	b.pump(b.helper)
	stdout, stderr := b.open("x", 0)
	c, err := spool.Dial(t.Context(), b.dir)
	must(t, err)
	_, err = c.Ask(spool.OpHandover, "")
	must(t, err)
	if _, err := ask(t, b.dir, spool.OpSync, "y"); err == nil {
		t.Error("a pump that is about to leave took something up")
	}
	b.open("y", 0) // nothing takes it up yet
	c.Close()
	must(t, writer(t, stdout, stderr, 1, 10, 50).Wait())
	must(t, b.client.Close(t.Context(), "x"))
	must(t, b.client.Close(t.Context(), "y"))
	b.count("x", 50).want(t, "files", 10)
}

func ask(t *testing.T, dir, op, id string) (spool.Reply, error) {
	t.Helper()
	c, err := spool.Dial(t.Context(), dir)
	must(t, err)
	defer c.Close()
	return c.Ask(op, id)
}

// A pump that is told to stop reads what is in the FIFOs, for nobody else may
// hold them.
func TestStopDrains(t *testing.T) {
	b := newBench(t)
	pump := b.pump(b.helper)
	stdout, _ := b.open("x", 0)
	b.client.Release()
	o := shimEnd(t, stdout)
	must(t, pump.Process.Signal(syscall.SIGSTOP))
	_, err := o.WriteString(strings.Repeat("0123456789\n", 20_000)) // fits into the FIFO
	must(t, err)
	o.Close()
	must(t, pump.Process.Signal(syscall.SIGTERM))
	b.end(pump, syscall.SIGCONT)
	if out, _ := b.text("x"); strings.Count(out, "0123456789\n") != 20_000 || len(out) != 220_000 {
		t.Errorf("got %d bytes, want 220000", len(out))
	}
}
