package peer

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestIdentityIsTheListeners(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	id, err := Identity(conn.(*net.UnixConn))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(id, ".")
	ticks, err := startTicks(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if len(parts) != 3 || parts[0] != strconv.Itoa(os.Getpid()) || parts[1] != strconv.FormatUint(ticks, 10) || len(parts[2]) != 36 {
		t.Errorf("identity is %q", id)
	}
}

func TestStartedAt(t *testing.T) {
	at := StartedAt(uint32(os.Getpid()))
	if at.After(time.Now()) || time.Since(at) > time.Hour {
		t.Errorf("this process started at %v", at)
	}
	if at := StartedAt(1 << 30); !at.IsZero() {
		t.Errorf("a process that is not there started at %v", at)
	}
}
