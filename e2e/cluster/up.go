package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"securitywatch.io/e2e/cluster/launch"
	"securitywatch.io/e2e/cluster/node"
)

func upCommand() *cobra.Command {
	var options launch.Options
	var whileStdin bool
	var images []string
	command := &cobra.Command{
		Use:   "up",
		Short: "Start a control plane; it runs until Ctrl-C, SIGTERM or `cluster down`",
		Long: `Start etcd, API server, controller manager and scheduler on free ports of loopback.

When they are ready, one line of JSON goes to stdout ({"kubeconfig":...,"server":...,"dir":...,...}); progress, and
what to type, goes to stderr. --nodes gives real nodes, guests with containerd and a kubelet that ` + "`e2e/setup node`" + ` has
prepared; --fake-nodes gives nodes that only claim to run pods.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			if whileStdin {
				ctx = untilEnd(ctx, os.Stdin)
			}
			var err error
			if options.Images, err = parseImages(images); err != nil {
				return err
			}
			return up(ctx, options)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Directory, "dir", "", "directory of the cluster's files, kept afterwards (default: a new one in the cache, removed at the end)")
	flags.IntVar(&options.Nodes, "nodes", 0, "how many real nodes to start with: node-1, node-2...")
	flags.IntVar(&options.FakeNodes, "fake-nodes", 0, "how many fake nodes to start with: fake-0, fake-1...")
	flags.BoolVar(&options.NodeLifecycle, "node-lifecycle", false, "taint nodes without heartbeats; always with real nodes")
	flags.StringVar(&options.CgroupDriver, "cgroup-driver", node.CgroupDrivers[0], "of kubelet and containerd: "+strings.Join(node.CgroupDrivers, " or "))
	flags.StringArrayVar(&images, "image", nil, "real nodes have it: "+imageUsage)
	flags.BoolVar(&whileStdin, "while-stdin", false, "also stop when stdin ends: for a program that starts this one and may be killed")
	return command
}

func up(ctx context.Context, options launch.Options) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	options.Program = program
	options.Say = say
	options.Prepared = node.Prepared(filepath.Join(filepath.Dir(program), "..", "..", "node"))
	temporary := options.Directory == ""
	if temporary {
		if options.Directory, err = newRunDirectory(program); err != nil {
			return err
		}
	}
	err = launch.Run(ctx, options, announce)
	if temporary && err == nil { // after a failure the logs are wanted
		return os.RemoveAll(options.Directory)
	}
	return err
}

// newRunDirectory is made in the cache, which the program itself lies in: CACHE/cluster/bin/cluster.
func newRunDirectory(program string) (string, error) {
	runs := filepath.Join(filepath.Dir(program), "..", "run")
	if err := os.MkdirAll(runs, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(runs, "")
}

func announce(info launch.Info) {
	_ = json.NewEncoder(os.Stdout).Encode(info)
	program, _ := os.Executable()
	say("ready; in another shell:\n\n  export KUBECONFIG=%s\n  export PATH=%s:$PATH\n  kubectl get nodes\n",
		info.Kubeconfig, filepath.Dir(program))
}

// untilEnd is a context that also ends when the reader does.
func untilEnd(ctx context.Context, reader io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, reader)
		cancel()
	}()
	return ctx
}

func restartCommand() *cobra.Command {
	var directory string
	var kill bool
	var down time.Duration
	command := &cobra.Command{
		Use:   "restart-apiserver",
		Short: "Restart the API server of a running cluster; ends when it is ready again",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return launch.RestartAPIServer(command.Context(), directory, kill, down)
		},
	}
	command.Flags().BoolVar(&kill, "kill", false, "end it with SIGKILL instead of SIGTERM")
	command.Flags().DurationVar(&down, "down", 0, "how long it stays away")
	requireDirectory(command, &directory)
	return command
}

func downCommand() *cobra.Command {
	var directory string
	command := &cobra.Command{
		Use:   "down",
		Short: "Stop a running cluster",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return launch.Stop(command.Context(), directory)
		},
	}
	requireDirectory(command, &directory)
	return command
}

func requireDirectory(command *cobra.Command, directory *string) {
	command.Flags().StringVar(directory, "dir", "", "the cluster's directory, as `up` printed it")
	_ = command.MarkFlagRequired("dir")
}

func say(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "cluster: "+format+"\n", arguments...)
}
