package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// layout is where one cluster's files are.
type layout struct{ root string }

func (l layout) pki() string                { return filepath.Join(l.root, "pki") }
func (l layout) logs() string               { return filepath.Join(l.root, "logs") }
func (l layout) log(name string) string     { return filepath.Join(l.logs(), name+".log") }
func (l layout) etcd() string               { return filepath.Join(l.root, "etcd") }
func (l layout) auditLog() string           { return filepath.Join(l.logs(), "audit.log") }
func (l layout) auditPolicy() string        { return filepath.Join(l.root, "audit-policy.yaml") }
func (l layout) egressSelector() string     { return filepath.Join(l.root, "egress-selector.yaml") }
func (l layout) adminKubeconfig() string    { return filepath.Join(l.root, "kubeconfig") }
func (l layout) kubeconfig(u string) string { return filepath.Join(l.pki(), u+".kubeconfig") }
func (l layout) control() string            { return filepath.Join(l.root, controlSocket) }

// controlSocket is always named relative to the cluster's directory: the path of a socket is at most 107 bytes long.
const controlSocket = "control"

func newLayout(directory string) (layout, error) {
	root, err := filepath.Abs(directory)
	if err != nil {
		return layout{}, err
	}
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return layout{}, err
	}
	if len(entries) > 0 {
		return layout{}, fmt.Errorf("%s is not empty: a cluster starts from nothing; remove it, or name another with --dir", root)
	}
	l := layout{root}
	for _, directory := range []string{l.pki(), l.logs(), l.etcd()} {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			return layout{}, err
		}
	}
	return l, nil
}

// freePorts finds n different TCP ports of loopback. They are all held until the last is found.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		listener, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
