// Command kubernetes is etcd, kube-apiserver and kubelet in one program, built
// from their Go modules. The first argument names the one to be.
//
// One program shares the code that all of them have: a third of the size of
// three programs and one link instead of three.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	if len(os.Args) < 2 {
		fail("")
	}
	// Each program reads os.Args by itself.
	name := os.Args[1]
	os.Args = os.Args[1:]
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kubelet":
		run(kubelet.NewKubeletCommand(context.Background()))
	default:
		fail(name)
	}
}

func run(command *cobra.Command) { os.Exit(cli.Run(command)) }

func fail(name string) {
	fmt.Fprintf(os.Stderr, "kubernetes: no program %q; there are etcd, kube-apiserver and kubelet\n", name)
	os.Exit(2)
}
