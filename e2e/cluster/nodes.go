package main

import (
	"fmt"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	"securitywatch.io/e2e/cluster/dns"
	"securitywatch.io/e2e/cluster/launch"
	"securitywatch.io/e2e/cluster/node"
)

func nodeCommand() *cobra.Command {
	var directory string
	command := &cobra.Command{
		Use:   "node ACTION NAME",
		Short: "Press a button of a running node: " + strings.Join(node.Actions(), ", "),
		Args:  cobra.ExactArgs(2),
		RunE: func(command *cobra.Command, arguments []string) error {
			return launch.NodeAction(command.Context(), directory, arguments[1], arguments[0])
		},
	}
	requireDirectory(command, &directory)
	return command
}

func dnsCommand() *cobra.Command {
	var kubeconfig, listen string
	var service dns.Service
	command := &cobra.Command{
		Use:   "dns",
		Short: "Give the Services of a cluster their names",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			return dns.Run(ctx, config, listen, service)
		},
	}
	flags := command.Flags()
	flags.StringVar(&kubeconfig, "kubeconfig", "", "how to reach the cluster")
	flags.StringVar(&listen, "listen", "", "address and port to serve at")
	flags.StringVar(&service.ClusterIP, "cluster-ip", "", "address of the Service that pods ask")
	flags.StringVar(&service.Address, "node-address", "", "address that nodes reach it by")
	flags.Int32Var(&service.Port, "node-port", 0, "port that nodes reach it by")
	for _, name := range []string{"kubeconfig", "listen", "cluster-ip", "node-address", "node-port"} {
		_ = command.MarkFlagRequired(name)
	}
	return command
}

func imagesCommand() *cobra.Command {
	var out, pause, tools string
	var programs []string
	command := &cobra.Command{
		Use:   "images",
		Short: "Write an archive of container images, as `docker save` does",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			images, err := parseImages(programs)
			if err != nil {
				return err
			}
			if pause != "" {
				images = append(images, node.PauseFrom(pause))
			}
			if tools != "" {
				images = append(images, node.ToolsFrom(tools))
			}
			return node.WriteImages(out, images)
		},
	}
	flags := command.Flags()
	flags.StringVar(&out, "out", "", "the archive")
	flags.StringVar(&pause, "pause", "", "program of the image "+node.PauseImage)
	flags.StringVar(&tools, "tools", "", "folder with the root file system of the image "+node.ToolsImage)
	flags.StringArrayVar(&programs, "image", nil, imageUsage)
	_ = command.MarkFlagRequired("out")
	return command
}

const imageUsage = "NAME=PROGRAM: an image with a program of this machine and its libraries; may be repeated"

// parseImages reads NAME=PROGRAM.
func parseImages(texts []string) ([]node.Image, error) {
	images := make([]node.Image, 0, len(texts))
	for _, text := range texts {
		name, program, found := strings.Cut(text, "=")
		if !found || name == "" || program == "" {
			return nil, fmt.Errorf("an image is NAME=PROGRAM, not %q", text)
		}
		// The launcher changes its directory later.
		program, err := filepath.Abs(program)
		if err != nil {
			return nil, err
		}
		images = append(images, node.ProgramFrom(name, program))
	}
	return images, nil
}

func prepareNodeCommand() *cobra.Command {
	var directory, images string
	command := &cobra.Command{
		Use:   "prepare-node",
		Short: "Boot a root file system for nodes once, to import the images all nodes have",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			say("first boot of the nodes' root file system, to import images (about a minute)")
			return node.Prepare(command.Context(), directory, images)
		},
	}
	command.Flags().StringVar(&directory, "dir", "", "folder with vmlinuz and root.img, which is changed")
	command.Flags().StringVar(&images, "images", "", "archive of the images")
	_ = command.MarkFlagRequired("dir")
	_ = command.MarkFlagRequired("images")
	return command
}
