package launch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	pollInterval = 50 * time.Millisecond
	pollTimeout  = 2 * time.Second
	answerBytes  = 1 << 20
	// A person who waits sees that something goes on.
	progressInterval = 5 * time.Second
	// Long enough for a machine with two slow, busy cores; a component that dies ends the wait at once.
	readyDeadline = 3 * time.Minute
)

// prober asks components over HTTPS whether they are ready, as a client that the API server and etcd know.
type prober struct {
	client *http.Client
	say    func(format string, arguments ...any)
}

func newProber(l layout, say func(string, ...any)) (*prober, error) {
	authority, err := os.ReadFile(filepath.Join(l.pki(), "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	// The one client certificate of the administrators' group that is not inside a kubeconfig.
	certificate, err := tls.LoadX509KeyPair(filepath.Join(l.pki(), "kubelet-client.crt"), filepath.Join(l.pki(), "kubelet-client.key"))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}},
		// A restarted API server is another connection.
		DisableKeepAlives: true,
	}
	return &prober{client: &http.Client{Transport: transport, Timeout: pollTimeout}, say: say}, nil
}

// wait polls until the URL answers 200, the process ends, or the context does.
func (p *prober) wait(ctx context.Context, process *process, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyDeadline)
	defer cancel()
	began := time.Now()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	progress := time.NewTicker(progressInterval)
	defer progress.Stop()
	var last error
	for {
		if last = p.ask(ctx, url); last == nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-progress.C:
			p.say("waiting for %s (%d s): %v", process.name, int(time.Since(began).Seconds()), last)
		case <-process.ended:
			return process.failure()
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %d s: %w\n--- the end of %s\n%s",
				process.name, int(time.Since(began).Seconds()), last, process.log, tail(process.log))
		}
	}
}

func (p *prober) ask(ctx context.Context, url string) error {
	_, err := p.get(ctx, url)
	return err
}

func (p *prober) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerBytes))
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, unready(string(body)))
	}
	return body, err
}

// unready names the first checks that a health report says to have failed: lines like "[-]etcd failed: why".
func unready(report string) string {
	const shown = 2
	var failed []string
	for line := range strings.Lines(report) {
		if check, found := strings.CutPrefix(line, "[-]"); found {
			check, _, _ = strings.Cut(strings.TrimSpace(check), " failed")
			failed = append(failed, check)
		}
	}
	if len(failed) == 0 {
		return strings.TrimSpace(report)
	}
	if len(failed) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(failed[:shown], ", "), len(failed)-shown)
	}
	return strings.Join(failed, ", ")
}
