// Package node runs real nodes: guests in QEMU with containerd, a kubelet and a kube-proxy.
//
// The root file system, prepared by `e2e/setup node`, is the same for all and stays as it is: what a node writes goes
// to a temporary file of QEMU. What makes it this node of this cluster comes on further disks: the programs, an archive
// of configuration and credentials, and container images.
package node

import "fmt"

const (
	// hostAddress is what a guest of QEMU's user network calls the host's loopback.
	hostAddress = "10.0.2.2"
	// The network between the nodes, behind Hub: node N is its Nth address.
	lanPrefix = "192.168.76."
	// ClusterCIDR holds the pods of all nodes; node N has the Nth part of 256 addresses.
	ClusterCIDR = "10.244.0.0/16"
	podPrefix   = "10.244."
	// KubeletPort is where each kubelet listens, at its node's address.
	KubeletPort = 10250
	// ImagesImported is what a node tells when its containers can start.
	ImagesImported = "the images are imported"
	// MostNodes is what the addresses above are good for; memory ends earlier.
	MostNodes = 9
)

// Node is one of the nodes of a cluster.
type Node struct {
	// Number counts from 1.
	Number int
	// KubeletHostPort is the port of the host's loopback that leads to the node's kubelet.
	KubeletHostPort int
}

// Name is also the node's host name.
func (n Node) Name() string { return fmt.Sprintf("node-%d", n.Number) }

// Address is the node's internal address: other nodes reach it, the host does not.
func (n Node) Address() string { return fmt.Sprintf("%s%d", lanPrefix, n.Number) }

func (n Node) podCIDR() string { return fmt.Sprintf("%s%d.0/24", podPrefix, n.Number) }

func (n Node) lanMAC() string { return fmt.Sprintf("52:54:00:76:00:%02x", n.Number) }
