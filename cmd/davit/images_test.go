package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/agent/report"
	"github.com/davit-agent/davit/agent/server"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/runtime"
)

// nodeImages is a node whose registry has any image but some.
type nodeImages struct{ list []runtime.ImageInfo }

func (n nodeImages) Images(context.Context) ([]runtime.ImageInfo, error) { return n.list, nil }

func (nodeImages) Pull(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error) {
	tell := func(p runtime.PullProgress) {
		req.Progress(p)
		time.Sleep(50 * time.Millisecond) // the newest replaces what was not read
	}
	tell(runtime.PullProgress{Stage: "waiting"})
	switch req.Ref {
	case "BAD":
		return nil, fmt.Errorf("%w: %q", runtime.ErrInvalidImageName, req.Ref)
	case "never":
		<-ctx.Done()
		return nil, ctx.Err()
	case "private":
		if len(req.Credentials) != 1 || req.Credentials[0] != (runtime.Credential{Username: "me", Password: "hunter2"}) {
			return nil, errors.New("401 Unauthorized")
		}
	}
	tell(runtime.PullProgress{Stage: runtime.PullResolving})
	for i := range 3 {
		tell(runtime.PullProgress{Stage: runtime.PullFetching, Layers: 2, LayersDone: i, Bytes: int64(i) * 20e6, Total: 40e6})
	}
	if req.Ref == "broken" {
		return nil, errors.New("a layer is damaged")
	}
	tell(runtime.PullProgress{Stage: runtime.PullUnpacking, Layers: 2, LayersDone: 2, Bytes: 40e6, Total: 40e6})
	return &runtime.Image{Name: "docker.io/library/" + req.Ref + ":latest", ID: "sha256:0123456789abcdef", Size: 40e6}, nil
}

func (nodeImages) Load(_ context.Context, archive io.Reader) ([]string, error) {
	data, err := io.ReadAll(archive)
	if err != nil || !strings.HasPrefix(string(data), "archive") {
		return nil, errors.New("the archive holds no image")
	}
	return []string{"docker.io/library/a:1", "docker.io/library/b:1"}, nil
}

func (nodeImages) RemoveImage(_ context.Context, ref string) error {
	switch ref {
	case "pinned":
		return fmt.Errorf("removing image %q: %w", ref, runtime.ErrImagePinned)
	case "gone":
		return fmt.Errorf("removing image %q: %w", ref, runtime.ErrImageNotFound)
	}
	return nil
}

var someImages = []runtime.ImageInfo{
	{ID: "sha256:0123456789abcdef0123456789abcdef", Names: []string{"docker.io/library/a:1", "docker.io/library/a:2"},
		RepoDigests: []string{"docker.io/library/a@sha256:77"}, Size: 12_345_678},
	{ID: "sha256:fedcba98765432100123456789abcdef", RepoDigests: []string{"docker.io/library/b@sha256:88"}, Size: 900, Pinned: true},
}

// serveImages runs a server with images and a pod that uses the first of them.
func serveImages(t *testing.T, list ...runtime.ImageInfo) string {
	t.Helper()
	table := report.NewTable()
	p := pod("default", "web-n1", "1")
	if len(list) > 0 {
		p.Status.ContainerStatuses[0].ImageID = list[0].ID
	}
	table.Set(p)
	path := filepath.Join(t.TempDir(), "d.sock")
	srv, err := server.New(server.Options{Socket: path, LogDir: "/logs", Pods: table, Images: nodeImages{list},
		Metrics: prometheus.NewRegistry(), Health: func() error { return nil }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return path
}

func TestImages(t *testing.T) {
	socket := serveImages(t, someImages...)
	dir := t.TempDir()
	archive := filepath.Join(dir, "a.tar")
	if err := os.WriteFile(archive, []byte("archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args      string
		stdin     string
		code      int
		out, errs string // the whole, but for errs: a part
	}{
		{args: "images ls", out: "" +
			"IMAGE                   ID             SIZE     PINNED   PODS\n" +
			"docker.io/library/a:1   0123456789ab   12.3MB   no       1\n" +
			"docker.io/library/a:2   0123456789ab   12.3MB   no       1\n" +
			"<none>                  fedcba987654   900B     yes      0\n"},
		{args: "images ls -o wide", out: "" +
			"IMAGE                   ID             SIZE     PINNED   PODS             CREATED     DIGESTS\n" +
			"docker.io/library/a:1   0123456789ab   12.3MB   no       default/web-n1   <unknown>   docker.io/library/a@sha256:77\n" +
			"docker.io/library/a:2   0123456789ab   12.3MB   no       default/web-n1   <unknown>   docker.io/library/a@sha256:77\n" +
			"<none>                  fedcba987654   900B     yes      0                <unknown>   docker.io/library/b@sha256:88\n"},
		{args: "image list -o name", out: "docker.io/library/a:1\ndocker.io/library/a:2\nsha256:fedcba98765432100123456789abcdef\n"},
		{args: "images ls -o xml", code: 2, errs: "-o xml: there are"},
		{args: "images ls x", code: 2, errs: "unknown command"},
		{args: "images", code: 2, errs: "images what? One of: ls, pull, load, rm"},
		{args: "images pul x", code: 2, errs: "there are ls, pull, load, rm"},
		{args: "images pull", code: 2, errs: "accepts 1 arg(s)"},
		{args: "images pull app", out: "docker.io/library/app:latest 0123456789ab 40.0MB\n",
			errs: "Pulling app: waiting for other pulls\nPulling app: asking the registry\nPulling app: fetching 0/2 layers\n" +
				"Pulling app: fetching 1/2 layers\nPulling app: fetching 2/2 layers\nPulling app: unpacking 2/2 layers\n"},
		{args: "images pull BAD", code: 1, errs: `error: invalid image name: "BAD"`},
		{args: "images pull broken", code: 1, errs: "error: a layer is damaged"},
		{args: "images pull private", code: 1, errs: "error: 401 Unauthorized"},
		{args: "images pull --creds me private", stdin: "hunter2\nmore", out: "docker.io/library/private:latest 0123456789ab 40.0MB\n", errs: "Pulling"},
		{args: "images pull --creds me private", code: 1, errs: "the first line of stdin is empty"},
		{args: "images pull --creds me:hunter2 private", code: 2, errs: "--creds takes the user's name alone"},
		{args: "images pull --creds= private", code: 2, errs: "--creds takes the user's name alone"},
		{args: "images load " + archive, out: "docker.io/library/a:1\ndocker.io/library/b:1\n"},
		{args: "images load -", stdin: "archive", out: "docker.io/library/a:1\ndocker.io/library/b:1\n"},
		{args: "images load -", stdin: "junk", code: 1, errs: "error: loading -: the archive holds no image"},
		{args: "images load " + dir, code: 1, errs: "is a directory"},
		{args: "images load " + filepath.Join(dir, "none"), code: 1, errs: "no such file"},
		{args: "images rm", code: 2, errs: "requires at least 1 arg(s)"},
		{args: "images rm a b", out: "a removed\nb removed\n"},
		{args: "images rm gone a pinned", code: 1, out: "a removed\n",
			errs: "error: removing image \"gone\": image is not present\nremoving image \"pinned\": image is pinned"},
	} {
		out, errs, code := davit(t, socket, c.stdin, strings.Fields(c.args)...)
		if code != c.code || out != c.out || !strings.Contains(errs, c.errs) || c.errs == "" && errs != "" || strings.Contains(errs, "hunter2") {
			t.Errorf("davit %s: code %d, out\n%serr %q; want %d,\n%s%q", c.args, code, out, errs, c.code, c.out, c.errs)
		}
	}
	if out, _, _ := davit(t, socket, "", "__complete", "images", "rm", "docker.io/library/a:1", ""); !strings.HasPrefix(out, "docker.io/library/a:2\nsha256:fedcba98765432100123456789abcdef\n") {
		t.Errorf("completion: %q", out)
	}
}

func TestImageObjects(t *testing.T) {
	socket := serveImages(t, someImages...)
	for format, decode := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(data []byte, into any) error { return yaml.UnmarshalStrict(data, into) },
	} {
		out, _, _ := davit(t, socket, "", "images", "ls", "-o", format)
		var list wire.Images
		if err := decode([]byte(out), &list); err != nil || len(list.Items) != 2 || list.Items[0].Size != 12_345_678 || list.Items[0].Pods[0] != "default/web-n1" || !list.Items[1].Pinned {
			t.Errorf("%s: %v: %s", format, err, out)
		}
	}
	none := serveImages(t)
	if out, errs, code := davit(t, none, "", "images", "ls"); code != 0 || out != "" || errs != "No images found\n" {
		t.Errorf("no images: %d, %q, %q", code, out, errs)
	}
	if out, _, _ := davit(t, none, "", "images", "ls", "-o", "json"); strings.Join(strings.Fields(out), "") != `{"items":[]}` {
		t.Errorf("no images: %s", out)
	}
}

// Ctrl-C ends a pull, and an upload whose input does not end.
func TestImagesInterrupted(t *testing.T) {
	socket := serveImages(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, first, want string }{
		{"images pull never", "Pulling", `error: pulling image "never": interrupted`},
		{"images load -", "", "error: loading -: interrupted"},
	} {
		cmd := exec.Command(self, strings.Fields(c.args)...)
		cmd.Env = append(os.Environ(), "DAVIT_TEST_MAIN=1", "DAVIT_SOCKET="+socket)
		stdin, err := cmd.StdinPipe() // which stays open
		if err != nil {
			t.Fatal(err)
		}
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stop := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		next := lines(stderr)
		if c.first == "" {
			if _, err := io.WriteString(stdin, strings.Repeat("archive", 1<<16)); err != nil { // it is read: davit is past its start
				t.Fatal(err)
			}
		} else if line := next(); !strings.HasPrefix(line, c.first) {
			t.Errorf("%s: line %q", c.args, line)
		}
		cmd.Process.Signal(os.Interrupt)
		if line := next(); line != c.want {
			t.Errorf("%s: line %q, want %q", c.args, line, c.want)
		}
		if cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: exit code %d", c.args, cmd.ProcessState.ExitCode())
		}
		stop.Stop()
		stdin.Close()
	}
}

// On a terminal there is a bar, which goes, and the password is asked for and
// not shown.
func TestImagesTerminal(t *testing.T) {
	socket := serveImages(t)
	out := onTerminal(t, socket, "images pull app", "")
	if !strings.Contains(out, "\r\x1b[KPulling app  [====================>                    ]") && !strings.Contains(out, "[======") {
		t.Errorf("no bar: %q", out)
	}
	if !strings.Contains(out, "20.0/40.0 MB") || !strings.HasSuffix(strings.TrimSpace(out), "\r\x1b[Kdocker.io/library/app:latest 0123456789ab 40.0MB\r\ncode=0") {
		t.Errorf("output %q", out)
	}
	out = onTerminal(t, socket, "images pull --creds me private", "hunter2\n")
	if !strings.Contains(out, "Password: ") || strings.Contains(out, "hunter2") || !strings.Contains(out, "code=0") {
		t.Errorf("output %q", out)
	}
	archive := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(archive, []byte("archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out = onTerminal(t, socket, "images load "+archive, ""); !strings.Contains(out, "]  unpacking  7/7 B") || !strings.Contains(out, "\r\x1b[Kdocker.io/library/a:1\r\n") {
		t.Errorf("output %q", out)
	}
	if out = onTerminal(t, socket, "images load -", ""); !strings.Contains(out, "stdin, which is a terminal") || !strings.Contains(out, "code=2") {
		t.Errorf("output %q", out)
	}
}

// onTerminal runs davit in a terminal of 100 columns and types text when it is
// asked for a password.
func onTerminal(t *testing.T, socket, args, text string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("stty cols 100 rows 20; DAVIT_TEST_MAIN=1 %s --socket %s %s; echo code=$?", self, socket, args)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "script", "-qec", line, "/dev/null")
	keyboard, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	buf := make([]byte, 4096)
	for typed := text == ""; ; {
		n, err := out.Read(buf)
		all.Write(buf[:n])
		if !typed && strings.Contains(all.String(), "Password: ") {
			typed = true
			time.Sleep(100 * time.Millisecond) // the prompt comes just before the echo is off
			io.WriteString(keyboard, text)
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v: %q", args, err, all.String())
	}
	return all.String()
}
