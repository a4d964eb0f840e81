package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// process is a program of the cluster.
type process struct {
	name string
	log  string // file with everything it printed, over all runs
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start starts a command as the process; it must not run.
func (p *process) start(cmd *exec.Cmd) error {
	if p.cmd != nil {
		return fmt.Errorf("starting %s: it runs already", p.name)
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.name, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, "/"
	// A group of its own: a Ctrl-C at the terminal is for the test, which then
	// cleans up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.cmd, p.done = cmd, make(chan struct{})
	go func(done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(p.done)
	return nil
}

// ended tells how the process ended, "" while it runs.
func (p *process) ended() string {
	if p.cmd == nil {
		return "not started"
	}
	select {
	case <-p.done:
		return p.cmd.ProcessState.String()
	default:
		return ""
	}
}

// kill ends the process with SIGKILL; what it started goes on.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	p.cmd = nil
}

// tail returns the last n bytes of the process' log, or why it cannot be read.
func (p *process) tail(n int) string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-n):])
}
