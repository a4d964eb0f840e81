package ns

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs fn on a thread that is thrown away afterwards: the goroutine
// ends while it is locked to its thread, and Go then ends the thread too. (Go
// starts new threads from a clean one when a locked thread asks for them, so
// nothing that fn changes is inherited.)
//
// It is never the process's first thread. Go cannot end that one, so it would
// stay in the namespace and hold it as long as the process lives, and /proc/self
// would show the namespace to everybody as the process's.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// As long as this goroutine sits on it, another one cannot.
			defer runtime.UnlockOSThread()
			done <- onThread(fn)
			return
		}
		done <- fn()
	}()
	return <-done
}
