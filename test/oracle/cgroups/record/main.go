// Command record reads the cgroups of the pods of package cgroups on a machine
// that has no Go: in the VM.
//
//	record pods IMAGE DIR URL                write the pods' manifests, some at a time
//	record config VARIANT                    print a variant's configuration
//	record read ROOT URL AFTER               print the values, AFTER all pods run
//	record compare GOLDEN VARIANT ROOT URL   wait until the values are a golden's
//
// URL tells of the pods: http://127.0.0.1:10255/pods is kubelet's read-only port,
// unix:/run/davit/davit.sock davit's socket.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/test/oracle/cgroups"
)

// limit is how long the pods may take, on an emulated processor.
const limit = 20 * time.Minute

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	node, err := cgroups.ReadNode()
	if err != nil {
		return err
	}
	switch {
	case len(args) == 4 && args[0] == "pods":
		return writePods(node, args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "config":
		return writeConfig(args[1])
	case len(args) == 4 && args[0] == "read":
		after, err := time.ParseDuration(args[3])
		if err != nil {
			return err
		}
		return read(node, args[1], args[2], after)
	case len(args) == 5 && args[0] == "compare":
		golden, err := cgroups.Load(args[1])
		if err != nil {
			return err
		}
		return compare(node, golden[args[2]], args[3], args[4])
	}
	return errors.New("usage: record pods IMAGE DIR URL | config VARIANT | read ROOT URL AFTER | compare GOLDEN VARIANT ROOT URL")
}

// atOnce is how many pods start at the same time: twenty that do so on an
// emulated processor run into containerd's time limits.
const atOnce = 4

func writePods(node cgroups.Node, image, dir, url string) error {
	pods, err := cgroups.Pods(node, image)
	if err != nil {
		return err
	}
	started := time.Now()
	for i, pod := range pods {
		data, err := yaml.Marshal(pod)
		if err != nil {
			return err
		}
		// Whole at once: the directory may be watched.
		tmp := filepath.Join(dir, "."+pod.Name)
		if err := os.WriteFile(tmp, data, 0o644); err != nil {
			return err
		}
		if err := os.Rename(tmp, filepath.Join(dir, pod.Name+".yaml")); err != nil {
			return err
		}
		if _, err := await(pods[:max(0, i+1-atOnce)], url); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s: pod %d of %d, %s\n", time.Since(started).Round(time.Second), i+1, len(pods), pod.Name)
	}
	return nil
}

func writeConfig(name string) error {
	i := slices.IndexFunc(cgroups.Variants, func(v cgroups.Variant) bool { return v.Name == name })
	if i < 0 {
		return fmt.Errorf("no variant %q", name)
	}
	config := cgroups.Variants[i].Config
	if len(config) == 0 {
		return nil
	}
	data, err := yaml.Marshal(config)
	if err == nil {
		_, err = os.Stdout.Write(data)
	}
	return err
}

func read(node cgroups.Node, root, url string, after time.Duration) error {
	want, err := cgroups.Pods(node, "")
	if err != nil {
		return err
	}
	pods, err := await(want, url)
	if err != nil {
		return err
	}
	time.Sleep(after)
	values, err := cgroups.Read(root, pods)
	if err != nil {
		return err
	}
	data, err := yaml.Marshal(cgroups.Normal(node, values))
	if err == nil {
		_, err = os.Stdout.Write(data)
	}
	return err
}

// settle is how long values may take to come once all pods run.
const settle = time.Minute

func compare(node cgroups.Node, want cgroups.Values, root, url string) error {
	if len(want) == 0 {
		return errors.New("the golden has nothing of the variant")
	}
	all, err := cgroups.Pods(node, "")
	if err != nil {
		return err
	}
	pods, err := await(all, url)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(settle); ; time.Sleep(2 * time.Second) {
		values, err := cgroups.Read(root, pods)
		different := cgroups.Compare(want, cgroups.Normal(node, values))
		if err == nil && len(different) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(err, errors.New(strings.Join(different, "\n")))
		}
	}
}

// await waits until everything of the wanted pods runs that goes on running.
func await(want []*v1.Pod, url string) ([]*v1.Pod, error) {
	told := time.Now()
	for deadline := time.Now().Add(limit); ; time.Sleep(2 * time.Second) {
		pods, err := list(url)
		if err == nil {
			err = waiting(want, pods)
		}
		if err == nil {
			return pods, nil
		}
		if time.Now().After(deadline) {
			return nil, err
		}
		if time.Since(told) > time.Minute {
			fmt.Fprintln(os.Stderr, "waiting:", err)
			told = time.Now()
		}
	}
}

// waiting tells what of the wanted pods is not there yet.
func waiting(want, have []*v1.Pod) error {
	for _, w := range want {
		i := slices.IndexFunc(have, func(p *v1.Pod) bool { return strings.TrimSuffix(p.Name, "-"+p.Spec.NodeName) == w.Name })
		if i < 0 {
			return fmt.Errorf("there is no pod %s", w.Name)
		}
		if why := cgroups.Waiting(have[i]); why != "" {
			return errors.New(why)
		}
	}
	return nil
}

// list asks for all pods.
func list(url string) ([]*v1.Pod, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := http.Client{}
	if socket, ok := strings.CutPrefix(url, "unix:"); ok {
		url = "http://davit/v1/pods"
		client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking for the pods: %s", resp.Status)
	}
	var pods struct{ Items []*v1.Pod }
	if err := json.NewDecoder(resp.Body).Decode(&pods); err != nil {
		return nil, fmt.Errorf("decoding the pods: %w", err)
	}
	return pods.Items, nil
}
