// Command cluster is a Kubernetes control plane for tests: the real components of one Kubernetes release and etcd in
// one program, and a launcher that runs them as separate processes on loopback, and real nodes as guests in QEMU.
//
// One program, because the components share most of their code: one link instead of seven, one file to cache. Separate
// processes, because the components keep global state (flags, metrics, feature gates) that two of them in one process
// would fight over, and because tests restart one of them.
package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func main() {
	name := filepath.Base(os.Args[0])
	if component, found := components[name]; found { // a link with the component's name: kubectl -> cluster
		os.Exit(component.run())
	}
	if len(os.Args) > 1 {
		if component, found := components[os.Args[1]]; found {
			// The components read os.Args themselves.
			os.Args = append([]string{os.Args[1]}, os.Args[2:]...)
			os.Exit(component.run())
		}
	}
	if root().Execute() != nil {
		os.Exit(1)
	}
}

func root() *cobra.Command {
	command := &cobra.Command{
		Use:           "cluster",
		Short:         "A Kubernetes control plane for tests, on loopback",
		SilenceUsage:  true,
		SilenceErrors: false,
	}
	command.AddCommand(upCommand(), restartCommand(), nodeCommand(), downCommand(), fakeNodesCommand(), dnsCommand(), imagesCommand(), prepareNodeCommand())
	for name, component := range components {
		command.AddCommand(&cobra.Command{Use: name, Short: component.short, GroupID: "components", Run: func(*cobra.Command, []string) {}})
	}
	command.AddGroup(&cobra.Group{ID: "components", Title: "Real components, with their own flags:"})
	return command
}
