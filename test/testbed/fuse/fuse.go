package fuse

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Fine is what /fine holds.
const Fine = "fine\n"

// FS is a mounted file system.
type FS struct {
	Dir    string
	server *exec.Cmd
	says   *os.File // a byte when the server is ready, and when it has become silent
	stop   sync.Once
	lift   sync.Once
}

// serverVariable has the test's program be a server instead of a test.
const serverVariable = "DAVIT_TEST_FUSE"

// Mount mounts a file system at dir and unmounts it when the test ends. The
// test's own process must look at nothing in it after Stop, nor read /hang.
func Mount(t testing.TB, dir string) *FS {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("fuse: opening /dev/fuse: %v", err)
	}
	conn := os.NewFile(uintptr(fd), "/dev/fuse")
	defer func() { _ = conn.Close() }() // the server's is the last one
	options := fmt.Sprintf("fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount("davit-test", dir, "fuse.davit-test", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Fatalf("fuse: mounting at %s: %v", dir, err)
	}
	says, tells, err := os.Pipe()
	if err != nil {
		t.Fatalf("fuse: making a pipe: %v", err)
	}
	defer func() { _ = tells.Close() }() // the server's is the one that is written to
	f := &FS{Dir: dir, says: says, server: exec.Command("/proc/self/exe")}
	t.Cleanup(func() {
		f.Lift()
		_ = says.Close() // only read
		if err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			t.Errorf("fuse: unmounting %s: %v", dir, err)
		}
	})
	f.server.Env = []string{serverVariable + "=" + strconv.Itoa(os.Getpid())}
	f.server.ExtraFiles, f.server.Stderr = []*os.File{conn, tells}, os.Stderr
	if err := f.server.Start(); err != nil {
		t.Fatalf("fuse: starting the server: %v", err)
	}
	_ = tells.Close() // again above, where nothing was started
	f.heard()
	return f
}

// Hang is the path of the file of which no read is answered.
func (f *FS) Hang() string { return filepath.Join(f.Dir, "hang") }

// Stop has every request from now on go without an answer: they are taken, so
// that whoever made them cannot be killed.
func (f *FS) Stop() {
	f.stop.Do(func() {
		_ = f.server.Process.Signal(unix.SIGUSR1)
		f.heard()
	})
}

// Freeze stops the server: nothing is answered any more, but who waits can be
// killed, since the request was not taken.
func (f *FS) Freeze() { _ = f.server.Process.Signal(unix.SIGSTOP) }

// heard waits for the server's next byte, or its end.
func (f *FS) heard() { _, _ = f.says.Read(make([]byte, 1)) }

// Lift ends the connection: whatever waits for it gets an error at once, as
// everything does from then on.
func (f *FS) Lift() {
	f.lift.Do(func() {
		if f.server.Process != nil { // its descriptor is the last: the kernel aborts the connection
			_ = f.server.Process.Kill()
			_ = f.server.Wait()
		}
	})
}

// server answers requests.
type server struct {
	conn   *os.File
	silent atomic.Bool
}

func init() {
	parent, err := strconv.Atoi(os.Getenv(serverVariable))
	if err != nil {
		return
	}
	s, tells := &server{conn: os.NewFile(3, "/dev/fuse")}, os.NewFile(4, "pipe")
	go func() { // a test that was killed while it hangs in the file system is a zombie, not gone
		for os.Getppid() == parent && !zombie(parent) {
			time.Sleep(100 * time.Millisecond)
		}
		os.Exit(1)
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGUSR1)
	go func() {
		for {
			_, _ = tells.Write([]byte{0})
			<-stop
			s.silent.Store(true)
		}
	}()
	s.serve()
	os.Exit(0)
}

func zombie(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := bytes.Cut(data, []byte(") "))
	return err != nil || bytes.HasPrefix(rest, []byte("Z"))
}

// Opcodes of the protocol.
const (
	opLookup      = 1
	opForget      = 2
	opGetattr     = 3
	opOpen        = 14
	opRead        = 15
	opStatfs      = 17
	opRelease     = 18
	opFlush       = 25
	opInit        = 26
	opOpendir     = 27
	opReaddir     = 28
	opReleasedir  = 29
	opInterrupt   = 36
	opBatchForget = 42
)

// Nodes of the file system; the root's number is the protocol's.
const (
	nodeRoot = 1
	nodeFine = 2
	nodeHang = 3
)

// inHeader begins each request, outHeader each answer.
type inHeader struct {
	Len, Opcode   uint32
	Unique, Node  uint64
	UID, GID, PID uint32
	_             uint32
}

type outHeader struct {
	Len    uint32
	Errno  int32
	Unique uint64
}

type attr struct {
	Ino, Size, Blocks, Atime, Mtime, Ctime    uint64
	AtimeNsec, MtimeNsec, CtimeNsec           uint32
	Mode, Nlink, UID, GID, Rdev, Blksize, Flg uint32
}

type (
	initOut struct {
		Major, Minor, MaxReadahead, Flags uint32
		MaxBackground, Congestion         uint16
		MaxWrite, TimeGran                uint32
		MaxPages, MapAlignment            uint16
		Flags2                            uint32
		_                                 [7]uint32
	}
	entryOut struct {
		Node, Generation, EntryValid, AttrValid uint64
		EntryValidNsec, AttrValidNsec           uint32
		Attr                                    attr
	}
	attrOut struct {
		Valid     uint64
		ValidNsec uint32
		_         uint32
		Attr      attr
	}
	openOut struct {
		Handle   uint64
		Flags, _ uint32
	}
	statfsOut struct {
		Blocks, Bfree, Bavail, Files, Ffree uint64
		Bsize, Namelen, Frsize              uint32
		_                                   [7]uint32
	}
)

// directIO has reads come here and not to the page cache.
const directIO = 1

func (s *server) serve() {
	buf := make([]byte, 128<<10)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			return // Lift, or unmounted
		}
		var in inHeader
		if binary.Read(bytes.NewReader(buf[:n]), binary.NativeEndian, &in) != nil {
			continue
		}
		out, errno, answer := s.handle(in, buf[binary.Size(in):n])
		if !answer || s.silent.Load() {
			continue
		}
		var b bytes.Buffer
		_ = binary.Write(&b, binary.NativeEndian, out) // to memory, of fixed size
		h := outHeader{Len: uint32(binary.Size(outHeader{}) + b.Len()), Errno: -int32(errno), Unique: in.Unique}
		var msg bytes.Buffer
		_ = binary.Write(&msg, binary.NativeEndian, h)
		msg.Write(b.Bytes())
		_, _ = s.conn.Write(msg.Bytes()) // fails if the asker went away
	}
}

// handle answers a request; false: it gets no answer.
func (*server) handle(in inHeader, body []byte) (out any, errno unix.Errno, answer bool) {
	none := []byte{}
	switch in.Opcode {
	case opInit:
		return initOut{Major: 7, Minor: 31, MaxReadahead: 4096, MaxWrite: 4096, TimeGran: 1}, 0, true
	case opForget, opBatchForget, opInterrupt:
		return none, 0, false
	case opLookup:
		node := map[string]uint64{"fine": nodeFine, "hang": nodeHang}[string(bytes.TrimRight(body, "\x00"))]
		if node == 0 {
			return none, unix.ENOENT, true
		}
		return entryOut{Node: node, Attr: attrOf(node)}, 0, true
	case opGetattr:
		return attrOut{Attr: attrOf(in.Node)}, 0, true
	case opOpen:
		return openOut{Flags: directIO}, 0, true
	case opOpendir:
		return openOut{}, 0, true
	case opRead:
		if in.Node == nodeHang {
			return none, 0, false
		}
		if at := binary.NativeEndian.Uint64(body[8:]); at > 0 { // fuse_read_in: handle, offset, ...
			return none, 0, true
		}
		return []byte(Fine), 0, true
	case opReaddir, opFlush, opRelease, opReleasedir:
		return none, 0, true
	case opStatfs:
		return statfsOut{Blocks: 1, Bsize: 4096, Namelen: 255, Frsize: 4096}, 0, true
	}
	return none, unix.ENOSYS, true
}

func attrOf(node uint64) attr {
	a := attr{Ino: node, Nlink: 1, Blksize: 4096, Mode: unix.S_IFREG | 0o644, Size: uint64(len(Fine))}
	if node == nodeRoot {
		a.Mode, a.Nlink, a.Size = unix.S_IFDIR|0o755, 2, 0
	}
	return a
}
