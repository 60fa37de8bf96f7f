package node

import (
	"archive/tar"
	"bytes"
	"embed"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"text/template"
)

//go:embed files
var templates embed.FS

// CgroupDrivers are the two ways in which container runtimes name and make cgroups.
var CgroupDrivers = []string{"systemd", "cgroupfs"}

// Cluster is what all nodes of a cluster have in common.
type Cluster struct {
	// Nodes is how many there are.
	Nodes int
	// APIServerPort on the host's loopback.
	APIServerPort int
	ClusterDNS    string
	CgroupDriver  string
}

// Credentials of one node; all PEM or kubeconfig files.
type Credentials struct {
	Authority             []byte
	KubeletKubeconfig     []byte
	ProxyKubeconfig       []byte
	KubeletCertificate    []byte
	KubeletCertificateKey []byte
}

// Server is the API server's URL as a node reaches it.
func (c Cluster) Server() string { return fmt.Sprintf("https://%s:%d", hostAddress, c.APIServerPort) }

const credentialsFolder = "etc/kubernetes/"

// files of a node by their path in it.
func files(n Node, c Cluster, credentials Credentials) (map[string][]byte, error) {
	values := map[string]any{
		"Name": n.Name(), "Address": n.Address(), "PodCIDR": n.podCIDR(), "ClusterCIDR": ClusterCIDR,
		"Routes": routes(n, c.Nodes), "ClusterDNS": c.ClusterDNS, "CgroupDriver": c.CgroupDriver,
		"SystemdCgroup": c.CgroupDriver == CgroupDrivers[0], "KubeletPort": KubeletPort, "PauseImage": PauseImage,
	}
	result := map[string][]byte{
		"etc/kubernetes/ca.crt":                []byte(credentials.Authority),
		"etc/kubernetes/kubelet.kubeconfig":    credentials.KubeletKubeconfig,
		"etc/kubernetes/kube-proxy.kubeconfig": credentials.ProxyKubeconfig,
		"etc/kubernetes/kubelet.crt":           credentials.KubeletCertificate,
		"etc/kubernetes/kubelet.key":           credentials.KubeletCertificateKey,
	}
	for file, source := range map[string]string{
		"etc/node/env":                   "env",
		"etc/node/routes":                "routes",
		"etc/node/nftables.conf":         "nftables.conf",
		"etc/node/sysctl.conf":           "sysctl.conf",
		"etc/kubernetes/kubelet.yaml":    "kubelet.yaml",
		"etc/kubernetes/kube-proxy.yaml": "kube-proxy.yaml",
		"etc/containerd/config.toml":     "containerd.toml",
		"etc/cni/net.d/10-pods.conflist": "pods.conflist",
	} {
		text, err := render(source, values)
		if err != nil {
			return nil, err
		}
		result[file] = text
	}
	return result, nil
}

// preparation is what the root file system needs to take images in, once and for all nodes.
func preparation() (map[string][]byte, error) {
	result, err := files(Node{Number: 1}, Cluster{Nodes: 1, CgroupDriver: CgroupDrivers[0]}, Credentials{})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(result, func(file string, _ []byte) bool { return strings.HasPrefix(file, credentialsFolder) })
	result["etc/node/prepare"] = nil
	return result, nil
}

func render(name string, values any) ([]byte, error) {
	source, err := template.New(name).Option("missingkey=error").ParseFS(templates, path.Join("files", name))
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = source.Execute(&text, values)
	return text.Bytes(), err
}

// routes to the pods of the other nodes, one "NETWORK GATEWAY" a line.
func routes(own Node, nodes int) string {
	var lines strings.Builder
	for number := 1; number <= nodes; number++ {
		if other := (Node{Number: number}); number != own.Number {
			fmt.Fprintf(&lines, "%s %s\n", other.podCIDR(), other.Address())
		}
	}
	return lines.String()
}

// writeArchive writes files as a tar archive that is unpacked in the root folder: owned by root, credentials readable
// by root only.
func writeArchive(writer io.Writer, files map[string][]byte) error {
	archive := tar.NewWriter(writer)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))}
		if strings.HasPrefix(name, credentialsFolder) {
			header.Mode = 0o600
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(files[name]); err != nil {
			return err
		}
	}
	return archive.Close()
}
