package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/davit-agent/davit/runtime/logs/pump"
)

// memoryLimit makes the collector work harder rather than let the pump grow:
// the live heap is well below 1 MiB per 100 idle streams.
const memoryLimit = 24 << 20

func logs(args []string) error {
	cfg := pump.Config{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	for len(args) > 0 {
		switch {
		case args[0] == "--dir" && len(args) > 1:
			cfg.Dir = args[1]
			args = args[2:]
		case args[0] == "--replace":
			cfg.Replace = true
			args = args[1:]
		default:
			return errUsage
		}
	}
	if cfg.Dir == "" {
		return errUsage
	}
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(memoryLimit)
	runtime.GOMAXPROCS(min(runtime.NumCPU(), 4))
	// All containers of the node wait for this process: it should be the last
	// that the OOM killer takes. Not permitted without CAP_SYS_RESOURCE.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-999"), 0)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	if cfg.Version, err = pump.Version("/proc/self/exe"); err != nil {
		return err
	}
	return pump.Run(ctx, cfg)
}
