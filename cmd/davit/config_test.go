package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is printed may be pasted into a report: it shows no password unless asked.
func TestConfigPrintConceals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "nodeName: n1\nnodeIPs: [192.0.2.1]\nsource:\n  url: https://me:hunter2@example.org/pods?token=hunter2\n  urlHeaders: {Authorization: Bearer hunter2}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := davit(t, "", "", "config", "print", "--config", file)
	if code != 0 || strings.Contains(out, "hunter2") || !strings.Contains(out, "https://***@example.org/pods?***") || !strings.Contains(out, `"Authorization"`) {
		t.Errorf("%d, %q\n%s", code, errs, out)
	}
	out, errs, code = davit(t, "", "", "config", "print", "--show-secrets", "--config", file)
	if code != 0 || strings.Count(out, "hunter2") != 3 {
		t.Errorf("%d, %q\n%s", code, errs, out)
	}
}
