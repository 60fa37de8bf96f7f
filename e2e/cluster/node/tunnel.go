package node

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Tunnel is how the API server reaches kubelets, which listen inside of guests: an HTTP proxy that knows CONNECT.
// The API server is told of it by its egress selector, as it is of Konnectivity's.
type Tunnel struct {
	// forwarded holds addresses inside of the cluster, and the ports of loopback that lead there.
	forwarded map[string]string
	dial      func(network, address string, timeout time.Duration) (net.Conn, error)
}

const dialTimeout = 30 * time.Second

// NewTunnel leads to the kubelets of these nodes.
func NewTunnel(nodes []Node) *Tunnel {
	forwarded := make(map[string]string, len(nodes))
	for _, n := range nodes {
		// The API server prefers a node's host name, which no name service of the host knows.
		for _, host := range []string{n.Name(), n.Address()} {
			forwarded[net.JoinHostPort(host, strconv.Itoa(KubeletPort))] = net.JoinHostPort("127.0.0.1", strconv.Itoa(n.KubeletHostPort))
		}
	}
	return &Tunnel{forwarded: forwarded, dial: net.DialTimeout}
}

// ServeHTTP answers CONNECT. What is no kubelet is dialled as it stands, such as a webhook on loopback.
func (t *Tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "this proxy knows CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	target := r.URL.Host
	if known, found := t.forwarded[target]; found {
		target = known
	}
	server, err := t.dial("tcp", target, dialTimeout)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	hijacker, supported := w.(http.Hijacker)
	if !supported {
		http.Error(w, "the connection cannot be taken over", http.StatusInternalServerError)
		return
	}
	client, buffered, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{}, 2)
	go func() {
		_, _ = io.Copy(server, buffered)
		done <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(client, server)
		done <- struct{}{}
	}()
	// Half-closed connections are not used here: TLS ends both halves.
	<-done
}
