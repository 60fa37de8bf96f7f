package main

import (
	"context"
	"os"
	_ "time/tzdata" // time zones of CronJobs, on machines without a zone database

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's ways to authenticate
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// component is a program that also exists by itself. run returns its exit code.
type component struct {
	short string
	run   func() int
}

// A component's command is made only when it runs: making one changes state that all components share.
var components = map[string]component{
	"etcd":                    {"the store", runEtcd},
	"kube-apiserver":          {"the API server", func() int { return cli.Run(apiserver.NewAPIServerCommand()) }},
	"kube-controller-manager": {"the controllers", func() int { return cli.Run(controllermanager.NewControllerManagerCommand()) }},
	"kube-scheduler":          {"the scheduler", func() int { return cli.Run(scheduler.NewSchedulerCommand()) }},
	"kubelet":                 {"the node agent", func() int { return cli.Run(newKubelet()) }},
	"kube-proxy":              {"a node's way to Services", func() int { return cli.Run(proxy.NewProxyCommand()) }},
	"kubectl":                 {"the command line client", runKubectl},
}

func newKubelet() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }

func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}

func runKubectl() int {
	// Before the command is made, for making it logs already.
	_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}
