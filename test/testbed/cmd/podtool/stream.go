package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// noise is n bytes that do not repeat and are the same every time.
func noise(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{}), n)
}

func printNoise(args []string) int {
	if _, err := io.Copy(os.Stdout, noise(int64(number(args, 0, 0)))); err != nil {
		return fail(err)
	}
	return 0
}

// summary reads to the end and tells how much it was, and its hash.
func summary(r io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d %x\n", n, h.Sum(nil)), err
}

func hash([]string) int {
	text, err := summary(os.Stdin)
	if err != nil {
		return fail(err)
	}
	fmt.Print(text)
	return 0
}

// tcp answers connections, each by the command in its first line.
func tcp(args []string) int {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return fail(err)
	}
	fmt.Println("listening")
	go func() { os.Exit(sleep(nil)) }()
	for {
		conn, err := l.Accept()
		if err != nil {
			return fail(err)
		}
		go func() {
			defer conn.Close()
			if err := answer(conn.(*net.TCPConn)); err != nil {
				fail(err)
			}
		}()
	}
}

func answer(conn *net.TCPConn) error {
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	command, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
	n, _ := strconv.ParseInt(arg, 10, 64)
	switch command {
	case "echo":
		_, err = io.Copy(conn, in)
		return err
	case "bytes":
		_, err = io.Copy(conn, noise(n))
		return err
	case "hash": // the answer comes after the end of what is asked
		text, err := summary(in)
		if err == nil {
			_, err = io.WriteString(conn, text)
		}
		return err
	case "end": // this direction ends first, the other goes on
		if err := conn.CloseWrite(); err != nil {
			return err
		}
		text, err := summary(in)
		fmt.Print(text)
		return err
	case "reset":
		return conn.SetLinger(0)
	case "hold": // reads nothing more
		time.Sleep(forEver)
		return nil
	}
	return fmt.Errorf("tcp: %q is no command", command)
}
