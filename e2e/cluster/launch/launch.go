// Package launch runs the components of one cluster as processes on loopback, and ends them together.
package launch

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"time"

	"securitywatch.io/e2e/cluster/node"
)

// Options of a cluster.
type Options struct {
	// Program has the components as subcommands.
	Program string
	// Directory of the cluster's files; must be empty or not there.
	Directory string
	// Nodes is how many real nodes there are: guests, from what is Prepared, with these Images besides those prepared.
	Nodes    int
	Prepared node.Prepared
	Images   []node.Image
	// CgroupDriver of real nodes.
	CgroupDriver string
	// FakeNodes is how many fake nodes there are at the start.
	FakeNodes int
	// NodeLifecycle turns on the controllers that taint nodes without heartbeats. Real nodes always have them: they also
	// take away the taint that each new node has.
	NodeLifecycle bool
	// Say gets a line of progress.
	Say func(format string, arguments ...any)
}

// Info is what a user of a running cluster needs.
type Info struct {
	Kubeconfig string `json:"kubeconfig"`
	Server     string `json:"server"`
	Directory  string `json:"dir"`
	// Control is the path of the socket that takes commands, over HTTP.
	Control string `json:"control"`
	Logs    string `json:"logs"`
	// Nodes are the real ones.
	Nodes    []NodeInfo `json:"nodes,omitempty"`
	AuditLog string     `json:"audit_log"`
	// Pids of the processes by name; a restart changes them.
	Pids map[string]int `json:"pids"`
}

// restart asks the running cluster to restart the API server.
type restart struct {
	kill bool
	down time.Duration
	done chan error
}

type cluster struct {
	options  Options
	layout   layout
	ports    ports
	prober   *prober
	nodes    nodes
	running  []*process
	restarts chan restart
	infos    chan chan Info
	stop     context.CancelFunc
}

// Run starts a cluster, calls ready, and serves until ctx ends or a component dies, which is an error.
func Run(ctx context.Context, options Options, ready func(Info)) error {
	// The components die with the thread that starts them (process.go): all are started from here.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := prepare(options)
	if err != nil {
		return err
	}
	c.stop = cancel
	defer c.nodes.close()
	defer c.stopAll()
	if err := c.startAll(ctx); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil // it was asked to stop while it started
		}
		return err
	}
	control, err := c.serveControl()
	if err != nil {
		return err
	}
	defer control.Close()
	ready(c.info())
	return c.supervise(ctx)
}

func prepare(options Options) (*cluster, error) {
	if err := checkNodes(options); err != nil {
		return nil, err
	}
	options.NodeLifecycle = options.NodeLifecycle || options.Nodes > 0
	l, err := newLayout(options.Directory)
	if err != nil {
		return nil, err
	}
	p, err := choosePorts(options.Nodes)
	if err != nil {
		return nil, err
	}
	authority, err := writeCredentials(l, address(p.apiServer))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(l.auditPolicy(), []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	prober, err := newProber(l, options.Say)
	if err != nil {
		return nil, err
	}
	c := &cluster{
		options: options, layout: l, ports: p, prober: prober,
		restarts: make(chan restart), infos: make(chan chan Info),
	}
	if options.Nodes > 0 {
		err = c.prepareNodes(authority)
	}
	return c, err
}

func (c *cluster) startAll(ctx context.Context) error {
	c.options.Say("starting the control plane in %s", c.layout.root)
	began := time.Now()
	store, err := c.start(etcd, etcdArguments(c.layout, c.ports))
	if err != nil {
		return err
	}
	if err := c.prober.wait(ctx, store, address(c.ports.etcd)+"/health"); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx); err != nil {
		return err
	}
	c.options.Say("the API server is ready (%.1f s)", time.Since(began).Seconds())
	// First, for a guest boots for longer than the rest takes to start.
	if err := c.startNodes(ctx); err != nil {
		return err
	}
	manager, err := c.start(controllerManager, controllerManagerArguments(c.layout, c.ports, c.options.NodeLifecycle))
	if err != nil {
		return err
	}
	placer, err := c.start(scheduler, schedulerArguments(c.layout, c.ports))
	if err != nil {
		return err
	}
	if c.options.FakeNodes > 0 {
		if err := c.startFakeNodes(); err != nil {
			return err
		}
	}
	if err := c.prober.wait(ctx, placer, address(c.ports.scheduler)+"/readyz"); err != nil {
		return err
	}
	if err := c.prober.wait(ctx, manager, address(c.ports.controllerManager)+"/healthz"); err != nil {
		return err
	}
	// No pod can be made before its service account is there; it is the last thing that appears.
	account := address(c.ports.apiServer) + "/api/v1/namespaces/default/serviceaccounts/default"
	if err := c.prober.wait(ctx, manager, account); err != nil {
		return err
	}
	c.options.Say("all components are ready (%.1f s)", time.Since(began).Seconds())
	return c.awaitNodes(ctx, began)
}

func (c *cluster) startFakeNodes() error {
	_, err := c.start(fakeNodes, fakeNodesArguments(c.layout, c.options))
	return err
}

func (c *cluster) startAPIServer(ctx context.Context) error {
	server, err := c.start(apiServer, apiServerArguments(c.layout, c.ports, c.options.Nodes > 0))
	if err != nil {
		return err
	}
	return c.prober.wait(ctx, server, address(c.ports.apiServer)+"/readyz")
}

func (c *cluster) start(name string, arguments []string) (*process, error) {
	command := exec.Command(c.options.Program, append([]string{name}, arguments...)...)
	// Where their sockets are, by short names.
	command.Dir = c.layout.root
	return c.startCommand(name, command)
}

// startCommand starts any program as a part of the cluster: its end is the end of the cluster.
func (c *cluster) startCommand(name string, command *exec.Cmd) (*process, error) {
	p, err := start(name, c.layout.log(name), command)
	if err != nil {
		return nil, err
	}
	c.running = append(c.running, p)
	return p, nil
}

// supervise does what the control socket asks for, one by one, until the end.
func (c *cluster) supervise(ctx context.Context) error {
	check := time.NewTicker(pollInterval)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case request := <-c.restarts:
			err := c.restartAPIServer(ctx, request)
			request.done <- err
			if err != nil && ctx.Err() == nil {
				return err
			}
		case reply := <-c.infos:
			reply <- c.info()
		case <-check.C:
			for _, p := range c.running {
				if !p.alive() {
					return p.failure()
				}
			}
		}
	}
}

func (c *cluster) restartAPIServer(ctx context.Context, request restart) error {
	for i, p := range c.running {
		if p.name == apiServer {
			c.options.Say("restarting the API server")
			p.stop(request.kill)
			c.running = append(c.running[:i], c.running[i+1:]...)
			break
		}
	}
	select {
	case <-time.After(request.down):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := c.startAPIServer(ctx); err != nil {
		return err
	}
	c.options.Say("the API server is ready again")
	return nil
}

// stopAll ends the components in the reverse order of their start: nobody logs that the API server has gone.
func (c *cluster) stopAll() {
	c.options.Say("stopping")
	for i := len(c.running) - 1; i >= 0; i-- {
		// The data is thrown away, and a graceful end of the API server waits for watches.
		c.running[i].stop(true)
	}
	c.running = nil
}

func (c *cluster) info() Info {
	pids := make(map[string]int, len(c.running))
	for _, p := range c.running {
		pids[p.name] = p.pid()
	}
	return Info{
		Kubeconfig: c.layout.adminKubeconfig(),
		Server:     address(c.ports.apiServer),
		Directory:  c.layout.root,
		Control:    c.layout.control(),
		Logs:       c.layout.logs(),
		AuditLog:   c.layout.auditLog(),
		Nodes:      c.nodeInfos(),
		Pids:       pids,
	}
}
