// Command web is the program of the example image: a static web server and the
// few things around it that a container without a shell lacks.
//
//	web serve DIR [ADDR]      serve the files of DIR (ADDR is :8080)
//	web write DIR URL         write DIR/index.html anew every second and fetch
//	                          it back from URL
//	web get URL               fetch URL once, in at most 10 s
//	web say TEXT              print TEXT
//	web sleep DURATION        do nothing for a while
//	web ls DIR                list a directory
//	web env                   print the environment
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatalln("web:", err)
	}
}

func run(ctx context.Context, args []string) error {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch arg(0) {
	case "serve":
		return serve(ctx, arg(1), arg(2))
	case "write":
		return write(ctx, arg(1), arg(2))
	case "get":
		body, err := get(ctx, arg(1))
		fmt.Print(body)
		return err
	case "say":
		fmt.Println(arg(1))
		return nil
	case "sleep":
		d, err := time.ParseDuration(arg(1))
		if err != nil {
			return err
		}
		return pause(ctx, d)
	case "ls":
		entries, err := os.ReadDir(arg(1))
		for _, e := range entries {
			fmt.Println(e.Name())
		}
		return err
	case "env":
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
		return nil
	}
	return errors.New("serve, write, get, say, sleep, ls or env?")
}

func serve(ctx context.Context, dir, addr string) error {
	if addr == "" {
		addr = ":8080"
	}
	files := http.FileServer(http.Dir(dir))
	srv := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Println(r.Method, r.URL.Path, "from", r.RemoteAddr)
		files.ServeHTTP(w, r)
	})}
	go func() {
		<-ctx.Done()
		srv.Close()
	}()
	log.Println("serving", dir, "on", addr)
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	log.Println("asked to stop")
	return nil
}

func write(ctx context.Context, dir, url string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		page := fmt.Sprintf("page %d, written on %s\n", n, host)
		if err := replace(filepath.Join(dir, "index.html"), page); err != nil {
			return err
		}
		switch body, err := get(ctx, url); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Println("not served yet:", err)
		case body != page:
			return fmt.Errorf("wrote %q, was served %q", page, body)
		default:
			log.Print("served: ", body)
		}
		if pause(ctx, time.Second) != nil {
			return nil
		}
	}
}

// replace writes a file in one step, so that nobody reads half of it.
func replace(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
