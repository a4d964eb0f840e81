package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func serve(args []string) int {
	text := "hello"
	if len(args) > 1 {
		text = args[1]
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, text) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /peer", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, r.RemoteAddr) })
	mux.HandleFunc("GET /host", func(w http.ResponseWriter, _ *http.Request) {
		name, err := os.Hostname()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, name)
	})
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, r.URL.Query().Get("path"))
	})
	server := http.Server{Addr: args[0], Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.ListenAndServe() }()
	stopped := make(chan int, 1)
	go func() { stopped <- sleep(nil) }()
	select {
	case err := <-done:
		return fail(err)
	case code := <-stopped:
		return code
	}
}

// get asks once, or up to TRIES times, 100 ms apart, until the server answers
// with 200.
func get(args []string) int {
	client := http.Client{Timeout: 5 * time.Second}
	var last error
	for range number(args, 1, 1) {
		res, err := client.Get(args[0])
		if err == nil && res.StatusCode != http.StatusOK {
			res.Body.Close()
			err = fmt.Errorf("%s: %s", args[0], res.Status)
		}
		if err == nil {
			_, err = io.Copy(os.Stdout, res.Body)
			res.Body.Close()
			if err == nil {
				return 0
			}
		}
		last = err
		time.Sleep(100 * time.Millisecond)
	}
	return fail(last)
}
