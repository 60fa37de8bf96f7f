package main

import (
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	"securitywatch.io/e2e/cluster/fakenodes"
)

func fakeNodesCommand() *cobra.Command {
	options := fakenodes.Options{Say: say}
	var kubeconfig string
	command := &cobra.Command{
		Use:   "fake-nodes",
		Short: "Claim to be kubelets: nodes are Ready and pods run, but nothing does",
		Long: `Make nodes fake-0, fake-1, ... and report them Ready and their pods running, until SIGTERM.

Nodes that others make with the label ` + fakenodes.NodeLabel + ` are served too.
On a node with the label ` + fakenodes.PodsLabel + `=` + fakenodes.PodsPending + ` pods stay pending, as with an image that cannot be pulled.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			return fakenodes.Run(ctx, config, options)
		},
	}
	flags := command.Flags()
	flags.IntVar(&options.Count, "count", 1, "how many nodes to make")
	flags.DurationVar(&options.Heartbeat, "heartbeat", 0, "how often each node's Lease is renewed (0: never)")
	flags.StringVar(&kubeconfig, "kubeconfig", "", "how to reach the cluster")
	_ = command.MarkFlagRequired("kubeconfig")
	return command
}
