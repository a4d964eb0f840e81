package systemd

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// manager is a service manager's end of the notify socket.
func manager(t *testing.T) (next func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		buf := make([]byte, 1024)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func TestNotify(t *testing.T) {
	next := manager(t)
	for want, call := range map[string]func() error{
		"READY=1":       Ready,
		"STOPPING=1":    Stopping,
		"STATUS=3 pods": func() error { return Status("3 pods") },
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		if got := next(); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
}

func TestWithoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	if err := errors.Join(Ready(), Stopping(), Watchdog(t.Context(), nil)); err != nil {
		t.Error(err)
	}
}

func TestWatchdog(t *testing.T) {
	next := manager(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sick atomic.Bool
	checked := make(chan bool)
	done := make(chan error, 1)
	go func() {
		done <- Watchdog(ctx, func() error {
			if sick.Load() {
				checked <- true
				return errors.New("sick")
			}
			return nil
		})
	}()
	for range 3 {
		if got := next(); got != "WATCHDOG=1" {
			t.Fatalf("told %q", got)
		}
	}
	sick.Store(true)
	<-checked
	for range 3 { // whoever is sick is asked, and stays silent
		<-checked
	}
	cancel()
	go func() {
		for range checked {
		}
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The unit file is what systemd understands, and keeps what doc.go says.
func TestUnitFile(t *testing.T) {
	data, err := os.ReadFile("davit.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := "\n" + string(data)
	for _, line := range []string{"Type=notify", "KillMode=process", "Delegate=yes"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	for _, key := range []string{"ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts",
		"PrivateNetwork", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths", "TemporaryFileSystem", "BindPaths",
		"ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "MountFlags",
		"RestrictNamespaces", "RootDirectory"} {
		if strings.Contains(unit, "\n"+key+"=") {
			t.Errorf("the unit has %s, which gives davit a mount or network namespace of its own or keeps it from making them", key)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatalf("systemd-analyze is needed (Debian: systemd): %v", err)
	}
	// The programs it names need not be installed here.
	copied := filepath.Join(t.TempDir(), "davit.service")
	text := strings.NewReplacer("/usr/local/bin/davit", "/bin/true").Replace(string(data))
	if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", copied).CombinedOutput()
	if err != nil || strings.Contains(string(out), copied) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
