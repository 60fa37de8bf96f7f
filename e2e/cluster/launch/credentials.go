package launch

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"

	"securitywatch.io/e2e/cluster/pki"
)

const (
	loopback = "127.0.0.1"
	// What a guest of QEMU's user network calls the host's loopback: kubelets in guests join by it.
	hostSeenByGuests = "10.0.2.2"
	serviceRange     = "10.96.0.0/16"
	// The first address of serviceRange: where pods find the API server.
	serviceAddress = "10.96.0.1"
	// Where pods find the name service.
	dnsAddress = "10.96.0.10"
)

// The users whose kubeconfig files are written, with the names that Kubernetes' own RBAC rules know.
var users = map[string]pki.Subject{
	admin:             {User: "kubernetes-admin", Groups: []string{"system:masters"}},
	controllerManager: {User: "system:kube-controller-manager"},
	scheduler:         {User: "system:kube-scheduler"},
}

const admin = "admin"

// writeCredentials makes the authority, all keys and certificates, and the kubeconfig files for the server.
func writeCredentials(l layout, server string) (*pki.Authority, error) {
	authority, err := pki.NewAuthority("securitywatch-test-cluster")
	if err != nil {
		return nil, err
	}
	return authority, writeIssued(l, server, authority)
}

func writeIssued(l layout, server string, authority *pki.Authority) error {
	own, err := authority.Pair()
	if err != nil {
		return err
	}
	if _, _, err := own.Write(l.pki(), "ca"); err != nil {
		return err
	}
	for name, subject := range map[string]pki.Subject{
		// One certificate serves for all components: they are one machine's, on one address.
		"server": {User: "kube-apiserver", Hosts: []string{
			"localhost", loopback, hostSeenByGuests, serviceAddress,
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}},
		"etcd-client":    {User: "kube-apiserver"},
		"kubelet-client": {User: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}},
	} {
		pair, err := authority.Issue(subject)
		if err != nil {
			return err
		}
		if _, _, err := pair.Write(l.pki(), name); err != nil {
			return err
		}
	}
	if err := writeTokenKeys(l); err != nil {
		return err
	}
	for name, subject := range users {
		pair, err := authority.Issue(subject)
		if err != nil {
			return err
		}
		path := l.kubeconfig(name)
		if name == admin {
			path = l.adminKubeconfig()
		}
		if err := os.WriteFile(path, kubeconfig(server, name, authority.Certificate(), pair), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func writeTokenKeys(l layout) error {
	private, public, err := pki.NewKey()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(l.pki(), "tokens.key"), private, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.pki(), "tokens.pub"), public, 0o600)
}

// kubeconfig needs no other file, so that it can be copied into a guest.
func kubeconfig(server, user string, authority []byte, pair pki.Pair) []byte {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: test
contexts:
- name: test
  context: {cluster: test, user: %[1]s}
clusters:
- name: test
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
`, user, server, encode(authority), encode(pair.Certificate), encode(pair.Key))
}
