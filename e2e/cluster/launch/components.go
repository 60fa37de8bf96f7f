package launch

import (
	"fmt"
	"path/filepath"
	"strings"

	"securitywatch.io/e2e/cluster/node"
)

// Names of the processes; those of real components are also subcommands of the program.
const (
	etcd              = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
	fakeNodes         = "fake-nodes"
	dnsServer         = "dns"
)

// ports of the parts that listen, all on loopback.
type ports struct {
	etcd, etcdPeer, apiServer, controllerManager, scheduler int
	// For real nodes: the name service, and the kubelet of each node.
	dns      int
	kubelets []int
}

func choosePorts(nodes int) (ports, error) {
	const fixed = 6
	p, err := freePorts(fixed + nodes)
	if err != nil {
		return ports{}, err
	}
	return ports{p[0], p[1], p[2], p[3], p[4], p[5], p[fixed:]}, nil
}

func address(port int) string { return fmt.Sprintf("https://%s:%d", loopback, port) }

// How often a kubelet renews its node's Lease.
const kubeletHeartbeat = "10s"

// What a cluster without volumes, autoscaling and pod networks does not need, and what needs real kubelets.
var controllersOff = []string{
	"ephemeral-volume", "horizontal-pod-autoscaler", "node-ipam", "persistentvolume-attach-detach",
	"persistentvolume-binder", "persistentvolume-expander", "service-cidr",
}

// Nodes of fake-nodes, and Node objects that a test makes by itself, have no heartbeat that these would accept.
var nodeLifecycleControllers = []string{"node-lifecycle", "taint-eviction"}

// Writes only, without bodies: tests count who wrote what. Leases and events of the components are noise.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: None
  users: [system:kube-scheduler, system:kube-controller-manager, system:apiserver]
- level: Metadata
`

func etcdArguments(l layout, p ports) []string {
	client, peer := address(p.etcd), address(p.etcdPeer)
	pki := l.pki()
	return flags(map[string]string{
		"name":                        "test",
		"data-dir":                    l.etcd(),
		"listen-client-urls":          client,
		"advertise-client-urls":       client,
		"listen-peer-urls":            peer,
		"initial-advertise-peer-urls": peer,
		"initial-cluster":             "test=" + peer,
		// Other users of this machine must not get in behind the API server's back.
		"client-cert-auth":      "true",
		"trusted-ca-file":       filepath.Join(pki, "ca.crt"),
		"cert-file":             filepath.Join(pki, "server.crt"),
		"key-file":              filepath.Join(pki, "server.key"),
		"peer-client-cert-auth": "true",
		"peer-trusted-ca-file":  filepath.Join(pki, "ca.crt"),
		"peer-cert-file":        filepath.Join(pki, "server.crt"),
		"peer-key-file":         filepath.Join(pki, "server.key"),
		// Nobody needs this data after a crash of the machine; waiting for disks makes tests slow.
		"unsafe-no-fsync": "true",
		"log-level":       "warn",
	})
}

// egressSelector sends what goes into the cluster through node.Tunnel; its socket is in the API server's directory.
const egressSelector = `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport: {uds: {udsName: ` + node.TunnelSocket + `}}
`

func apiServerArguments(l layout, p ports, realNodes bool) []string {
	pki := l.pki()
	values := map[string]string{
		"bind-address": loopback,
		// Where nodes reach it, so that the Service `kubernetes` leads there.
		"advertise-address":                hostSeenByGuests,
		"secure-port":                      fmt.Sprint(p.apiServer),
		"etcd-servers":                     address(p.etcd),
		"etcd-cafile":                      filepath.Join(pki, "ca.crt"),
		"etcd-certfile":                    filepath.Join(pki, "etcd-client.crt"),
		"etcd-keyfile":                     filepath.Join(pki, "etcd-client.key"),
		"tls-cert-file":                    filepath.Join(pki, "server.crt"),
		"tls-private-key-file":             filepath.Join(pki, "server.key"),
		"client-ca-file":                   filepath.Join(pki, "ca.crt"),
		"kubelet-client-certificate":       filepath.Join(pki, "kubelet-client.crt"),
		"kubelet-client-key":               filepath.Join(pki, "kubelet-client.key"),
		"service-account-issuer":           "https://kubernetes.default.svc",
		"service-account-signing-key-file": filepath.Join(pki, "tokens.key"),
		"service-account-key-file":         filepath.Join(pki, "tokens.pub"),
		"service-cluster-ip-range":         serviceRange,
		"authorization-mode":               "Node,RBAC",
		"enable-admission-plugins":         "NodeRestriction",
		"allow-privileged":                 "true",
		"audit-policy-file":                l.auditPolicy(),
		"audit-log-path":                   l.auditLog(),
	}
	if realNodes {
		values["egress-selector-config-file"] = l.egressSelector()
	}
	return flags(values)
}

func controllerManagerArguments(l layout, p ports, nodeLifecycle bool) []string {
	pki := l.pki()
	kubeconfig := l.kubeconfig(controllerManager)
	return flags(map[string]string{
		"bind-address":                     loopback,
		"secure-port":                      fmt.Sprint(p.controllerManager),
		"tls-cert-file":                    filepath.Join(pki, "server.crt"),
		"tls-private-key-file":             filepath.Join(pki, "server.key"),
		"kubeconfig":                       kubeconfig,
		"authentication-kubeconfig":        kubeconfig,
		"authorization-kubeconfig":         kubeconfig,
		"leader-elect":                     "false", // there is one; electing it takes seconds
		"use-service-account-credentials":  "true",
		"service-account-private-key-file": filepath.Join(pki, "tokens.key"),
		"root-ca-file":                     filepath.Join(pki, "ca.crt"),
		"cluster-signing-cert-file":        filepath.Join(pki, "ca.crt"),
		"cluster-signing-key-file":         filepath.Join(pki, "ca.key"),
		"controllers":                      controllers(nodeLifecycle),
	})
}

func controllers(nodeLifecycle bool) string {
	off := controllersOff
	if !nodeLifecycle {
		off = append(append([]string{}, off...), nodeLifecycleControllers...)
	}
	list := []string{"*"}
	for _, name := range off {
		list = append(list, "-"+name+"-controller")
	}
	return strings.Join(list, ",")
}

func schedulerArguments(l layout, p ports) []string {
	kubeconfig := l.kubeconfig(scheduler)
	return flags(map[string]string{
		"bind-address":              loopback,
		"secure-port":               fmt.Sprint(p.scheduler),
		"tls-cert-file":             filepath.Join(l.pki(), "server.crt"),
		"tls-private-key-file":      filepath.Join(l.pki(), "server.key"),
		"kubeconfig":                kubeconfig,
		"authentication-kubeconfig": kubeconfig,
		"authorization-kubeconfig":  kubeconfig,
		"leader-elect":              "false",
	})
}

func fakeNodesArguments(l layout, options Options) []string {
	values := map[string]string{
		"kubeconfig": l.adminKubeconfig(),
		"count":      fmt.Sprint(options.FakeNodes),
	}
	if options.NodeLifecycle {
		values["heartbeat"] = kubeletHeartbeat
	}
	return flags(values)
}

func dnsArguments(l layout, p ports) []string {
	return flags(map[string]string{
		"kubeconfig":   l.adminKubeconfig(),
		"listen":       fmt.Sprintf("%s:%d", loopback, p.dns),
		"cluster-ip":   dnsAddress,
		"node-address": hostSeenByGuests,
		"node-port":    fmt.Sprint(p.dns),
	})
}
