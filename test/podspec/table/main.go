// Command table writes docs/podspec.md, or prints it.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/davit-agent/davit/test/podspec"
)

func main() {
	out := flag.String("o", "", "write to this file")
	flag.Parse()
	page := podspec.Page()
	if *out == "" {
		fmt.Print(page)
		return
	}
	if err := os.WriteFile(*out, []byte(page), 0o644); err != nil { // a page for everybody
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
