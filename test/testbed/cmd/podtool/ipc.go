package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errUsage is the complaint about a verb other than put and get.
var errUsage = errors.New("want put NAME TEXT or get NAME")

// putOrGet sorts out the arguments that the three kinds of IPC have in common.
func putOrGet(args []string, put func(name string, text []byte) error, get func(name string) ([]byte, error)) int {
	var err error
	switch {
	case args[0] == "put" && len(args) == 3:
		err = put(args[1], []byte(args[2]))
	case args[0] == "get" && len(args) == 2:
		var text []byte
		if text, err = get(args[1]); err == nil {
			fmt.Printf("%s\n", text)
		}
	default:
		err = errUsage
	}
	if err != nil {
		return fail(err)
	}
	return 0
}

// shm uses a file in /dev/shm, which is all that shm_open(3) does.
func shm(args []string) int {
	file := func(name string) string { return filepath.Join("/dev/shm", name) }
	return putOrGet(args,
		func(name string, text []byte) error { return os.WriteFile(file(name), text, 0o600) },
		func(name string) ([]byte, error) { return os.ReadFile(file(name)) })
}

const sysvSize = 4096

func sysv(args []string) int {
	attach := func(key string, flags int) ([]byte, error) {
		k, err := strconv.Atoi(key)
		if err != nil {
			return nil, err
		}
		shmid, err := unix.SysvShmGet(k, sysvSize, flags)
		if err != nil {
			return nil, fmt.Errorf("shmget: %w", err)
		}
		mem, err := unix.SysvShmAttach(shmid, 0, 0)
		if err != nil {
			return nil, fmt.Errorf("shmat: %w", err)
		}
		return mem, nil
	}
	return putOrGet(args,
		func(key string, text []byte) error {
			mem, err := attach(key, unix.IPC_CREAT|0o600)
			if err == nil {
				clear(mem)
				copy(mem, text)
			}
			return err
		},
		func(key string) ([]byte, error) {
			mem, err := attach(key, 0)
			if err != nil {
				return nil, err
			}
			text, _, _ := bytes.Cut(mem, []byte{0})
			return text, nil
		})
}

// mqAttr is struct mq_attr of mqueue.h.
type mqAttr struct {
	flags, maxMsg, msgSize, curMsgs int
	_                               [4]int
}

const mqMessage = 1024 // bytes of a message at most

// openQueue opens a queue by its name without the slash, which the system call
// does not want (mq_open(3) strips it).
func openQueue(name string, flags int) (int, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	attr := mqAttr{maxMsg: 4, msgSize: mqMessage}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags), 0o600,
		uintptr(unsafe.Pointer(&attr)), 0, 0)
	runtime.KeepAlive(p)
	if errno != 0 {
		return -1, fmt.Errorf("mq_open: %w", errno)
	}
	return int(fd), nil
}

func mqueue(args []string) int {
	return putOrGet(args,
		func(name string, text []byte) error {
			fd, err := openQueue(name, unix.O_CREAT|unix.O_WRONLY)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if len(text) == 0 {
				return errUsage
			}
			_, _, errno := unix.Syscall6(unix.SYS_MQ_TIMEDSEND, uintptr(fd), uintptr(unsafe.Pointer(&text[0])),
				uintptr(len(text)), 0, 0, 0)
			if errno != 0 {
				return fmt.Errorf("mq_send: %w", errno)
			}
			return nil
		},
		func(name string) ([]byte, error) {
			fd, err := openQueue(name, unix.O_RDONLY|unix.O_NONBLOCK)
			if err != nil {
				return nil, err
			}
			defer unix.Close(fd)
			buf := make([]byte, mqMessage)
			n, _, errno := unix.Syscall6(unix.SYS_MQ_TIMEDRECEIVE, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])),
				uintptr(len(buf)), 0, 0, 0)
			if errno != 0 {
				return nil, fmt.Errorf("mq_receive: %w", errno)
			}
			return buf[:n], nil
		})
}
