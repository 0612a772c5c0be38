// The two parts of a Kubernetes control plane that the tests need, in one binary because they share nearly all of it:
// "kube-apiserver" or "kube-controller-manager" as the first argument, or as the name the binary is called by.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	parts := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
	}
	name := filepath.Base(os.Args[0])
	if _, found := parts[name]; !found && len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = os.Args[1:]
	}
	part, found := parts[name]
	if !found {
		fmt.Fprintln(os.Stderr, "say kube-apiserver or kube-controller-manager")
		os.Exit(2)
	}
	os.Exit(cli.Run(part()))
}
