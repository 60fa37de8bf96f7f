package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"securitywatch.io/e2e/cluster/node"
	"securitywatch.io/e2e/cluster/pki"
)

const (
	// From the first instruction to a Node that is Ready, on a machine that does other things at the same time.
	nodeDeadline = 10 * time.Minute
	// How the guest's own scripts begin what they tell.
	toldPrefix = "node: "
	// QEMU 7.2 now and then hangs an emulated machine with two processors at its very start, while the kernel patches
	// its own code. Nothing was written by then: it is started again.
	silenceLimit = time.Minute
	mostResets   = 3
)

// nodes are the real nodes of a cluster and what they need on the host.
type nodes struct {
	list    []node.Node
	booted  map[string]*process
	closers []func() error
}

// NodeInfo is what a user of a real node needs.
type NodeInfo struct {
	Name string `json:"name"`
	// Console is the file with what the node prints.
	Console string `json:"console"`
	// Kubelet is where the node's kubelet is reached from the host.
	Kubelet string `json:"kubelet"`
}

func checkNodes(options Options) error {
	if options.Nodes == 0 {
		if len(options.Images) > 0 {
			return errors.New("images are for real nodes: there are none without --nodes")
		}
		return nil
	}
	if options.Nodes > node.MostNodes {
		return fmt.Errorf("%d real nodes are too many: there are addresses for %d", options.Nodes, node.MostNodes)
	}
	if !slices.Contains(node.CgroupDrivers, options.CgroupDriver) {
		return fmt.Errorf("the cgroup driver is %s, not %q", strings.Join(node.CgroupDrivers, " or "), options.CgroupDriver)
	}
	if _, err := exec.LookPath(node.Emulator); err != nil {
		return fmt.Errorf("%w: run e2e/setup node", err)
	}
	if _, err := os.Stat(string(options.Prepared)); err != nil {
		return fmt.Errorf("no root file system for nodes is prepared: run e2e/setup node (%w)", err)
	}
	return nil
}

// prepareNodes writes the disks of the nodes and opens what they and the API server connect to.
func (c *cluster) prepareNodes(authority *pki.Authority) error {
	for i, port := range c.ports.kubelets {
		c.nodes.list = append(c.nodes.list, node.Node{Number: i + 1, KubeletHostPort: port})
	}
	if err := os.WriteFile(c.layout.egressSelector(), []byte(egressSelector), 0o600); err != nil {
		return err
	}
	for _, n := range c.nodes.list {
		credentials, err := nodeCredentials(n, c.sharedByNodes(), authority)
		if err != nil {
			return err
		}
		if err := n.Write(c.layout.root, c.sharedByNodes(), credentials); err != nil {
			return err
		}
	}
	tunnel, err := listenIn(c.layout.root, node.TunnelSocket)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: node.NewTunnel(c.nodes.list), ReadHeaderTimeout: pollTimeout}
	go func() { _ = server.Serve(tunnel) }()
	c.nodes.closers = append(c.nodes.closers, server.Close)
	return nil
}

func (c *cluster) sharedByNodes() node.Cluster {
	return node.Cluster{
		Nodes: c.options.Nodes, APIServerPort: c.ports.apiServer, ClusterDNS: dnsAddress, CgroupDriver: c.options.CgroupDriver,
	}
}

// nodeCredentials name the node as the node authorizer wants it, and kube-proxy as Kubernetes' own RBAC rules do.
func nodeCredentials(n node.Node, shared node.Cluster, authority *pki.Authority) (node.Credentials, error) {
	client, err := authority.Issue(pki.Subject{User: "system:node:" + n.Name(), Groups: []string{"system:nodes"}})
	if err != nil {
		return node.Credentials{}, err
	}
	serving, err := authority.Issue(pki.Subject{User: n.Name(), Hosts: []string{n.Name(), n.Address()}})
	if err != nil {
		return node.Credentials{}, err
	}
	proxy, err := authority.Issue(pki.Subject{User: "system:kube-proxy"})
	if err != nil {
		return node.Credentials{}, err
	}
	return node.Credentials{
		Authority:             authority.Certificate(),
		KubeletKubeconfig:     kubeconfig(shared.Server(), "kubelet", authority.Certificate(), client),
		ProxyKubeconfig:       kubeconfig(shared.Server(), "kube-proxy", authority.Certificate(), proxy),
		KubeletCertificate:    serving.Certificate,
		KubeletCertificateKey: serving.Key,
	}, nil
}

// startNodes boots the real nodes, and the name service for their pods.
func (c *cluster) startNodes(ctx context.Context) error {
	if len(c.nodes.list) == 0 {
		return nil
	}
	if err := node.WriteShared(ctx, c.layout.root, c.options.Program, c.options.Images); err != nil {
		return err
	}
	lan, err := listenIn(c.layout.root, node.LANSocket)
	if err != nil {
		return err
	}
	go new(node.Hub).Serve(lan)
	c.nodes.closers = append(c.nodes.closers, lan.Close)
	if _, err := c.start(dnsServer, dnsArguments(c.layout, c.ports)); err != nil {
		return err
	}
	c.nodes.booted = make(map[string]*process)
	for _, n := range c.nodes.list {
		command := exec.Command(node.Emulator, n.Arguments(c.options.Prepared, len(c.options.Images) > 0)...)
		// Where its sockets are, by short names.
		command.Dir = c.layout.root
		if c.nodes.booted[n.Name()], err = c.startCommand(n.Name(), command); err != nil {
			return err
		}
		c.options.Say("%s boots; its console is %s", n.Name(), c.layout.log(n.Name()))
	}
	return nil
}

// awaitNodes returns when all real nodes are Ready, and tells what they tell meanwhile.
func (c *cluster) awaitNodes(ctx context.Context, began time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, nodeDeadline)
	defer cancel()
	for _, n := range c.nodes.list {
		process := c.nodes.booted[n.Name()]
		if err := c.awaitNode(ctx, n, process); err != nil {
			return err
		}
		c.options.Say("%s is Ready (%.1f s)", n.Name(), time.Since(began).Seconds())
	}
	return nil
}

func (c *cluster) awaitNode(ctx context.Context, n node.Node, process *process) error {
	url := address(c.ports.apiServer) + "/api/v1/nodes/" + n.Name()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	told := 0
	silence := silence{since: time.Now()}
	for {
		if told == 0 && silence.tooLong(size(process.log), time.Now()) {
			c.options.Say("%s hangs in its boot: resetting it", n.Name())
			if err := c.press(n, "reset"); err != nil {
				return err
			}
		}
		lines := toldLines(process.log)
		for _, line := range lines[min(told, len(lines)):] {
			c.options.Say("%s: %s", n.Name(), line)
		}
		told = len(lines)
		state := "its images are not imported"
		if slices.Contains(lines, node.ImagesImported) {
			state = c.nodeState(ctx, url)
		}
		if state == "" {
			return nil
		}
		select {
		case <-poll.C:
		case <-process.ended:
			return process.failure()
		case <-ctx.Done():
			return fmt.Errorf("%s is not Ready: %s\n--- the end of %s\n%s", n.Name(), state, process.log, tail(process.log))
		}
	}
}

// nodeState is empty when the node is Ready.
func (c *cluster) nodeState(ctx context.Context, url string) string {
	body, err := c.prober.get(ctx, url)
	if err != nil {
		return err.Error()
	}
	var found corev1.Node
	if err := json.Unmarshal(body, &found); err != nil {
		return err.Error()
	}
	return unreadyNode(&found)
}

// unreadyNode says why no pod would be placed on the node, or nothing.
func unreadyNode(found *corev1.Node) string {
	for _, condition := range found.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			if condition.Status != corev1.ConditionTrue {
				return condition.Message
			}
			if len(found.Spec.Taints) > 0 {
				return "it has the taint " + found.Spec.Taints[0].Key
			}
			return ""
		}
	}
	return "its kubelet has not reported"
}

// toldLines are what the guest's scripts have told so far.
func toldLines(console string) []string {
	content, err := os.ReadFile(console)
	if err != nil {
		return nil
	}
	var lines []string
	for line := range bytes.Lines(content) {
		if _, told, found := strings.Cut(strings.TrimSpace(string(line)), toldPrefix); found {
			lines = append(lines, told)
		}
	}
	return lines
}

func (c *cluster) nodeInfos() []NodeInfo {
	var infos []NodeInfo
	for _, n := range c.nodes.list {
		infos = append(infos, NodeInfo{Name: n.Name(), Console: c.layout.log(n.Name()), Kubelet: address(n.KubeletHostPort)})
	}
	return infos
}

func (c *cluster) handleNode(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	index := slices.IndexFunc(c.nodes.list, func(n node.Node) bool { return n.Name() == name })
	if index < 0 {
		http.Error(w, fmt.Sprintf("there is no real node %q", name), http.StatusNotFound)
		return
	}
	if err := c.press(c.nodes.list[index], r.FormValue("action")); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// press goes by the name of the socket in the current directory, which listenIn has set.
func (c *cluster) press(n node.Node, action string) error { return node.Do(n.Monitor(), action) }

// silence is how long a machine has printed nothing.
type silence struct {
	since  time.Time
	bytes  int64
	resets int
}

// tooLong is true when the machine should be reset, which is not done often.
func (s *silence) tooLong(bytes int64, now time.Time) bool {
	if bytes != s.bytes {
		s.bytes, s.since = bytes, now
		return false
	}
	if s.resets == mostResets || now.Sub(s.since) < silenceLimit {
		return false
	}
	s.resets++
	s.since = now
	return true
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (n *nodes) close() {
	for _, close := range n.closers {
		_ = close()
	}
}
