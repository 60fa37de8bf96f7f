package launch

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFlagsAreInAStableOrder(t *testing.T) {
	got := flags(map[string]string{"b": "2", "a": "1"})
	if !slices.Equal(got, []string{"--a=1", "--b=2"}) {
		t.Errorf("got %v", got)
	}
}

func TestControllersOfNodesWithoutHeartbeatsAreOff(t *testing.T) {
	const off = "-node-lifecycle-controller"
	if got := controllers(false); !strings.HasPrefix(got, "*,") || !strings.Contains(got, off) {
		t.Errorf("got %s", got)
	}
	if got := controllers(true); strings.Contains(got, off) {
		t.Errorf("got %s", got)
	}
	// The shared list must not have grown.
	if got := controllers(true); strings.Contains(got, off) {
		t.Errorf("the second time got %s", got)
	}
}

func TestPortsAreDifferent(t *testing.T) {
	ports, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ports)
	if len(slices.Compact(ports)) != 20 {
		t.Errorf("got %v", ports)
	}
}

func TestADirectoryWithFilesIsRefused(t *testing.T) {
	directory := t.TempDir()
	if _, err := newLayout(filepath.Join(directory, "new")); err != nil {
		t.Error(err)
	}
	if _, err := newLayout(directory); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v", err)
	}
}

func TestKubeconfigsOfAllUsersAreWritten(t *testing.T) {
	l, err := newLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writeCredentials(l, "https://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{l.adminKubeconfig(), l.kubeconfig(scheduler), l.kubeconfig(controllerManager)} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(content), "server: https://127.0.0.1:1\n") {
			t.Errorf("%s: %s", path, content)
		}
	}
}

// shell runs a script as if it were a component.
func shell(t *testing.T, script string) *process {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	p, err := start("shell", filepath.Join(t.TempDir(), "shell.log"), exec.Command("/bin/sh", "-c", script))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheEndOfAComponentShowsWhatItSaid(t *testing.T) {
	p := shell(t, "for i in $(seq 100); do echo line $i; done; exit 3")
	<-p.ended
	message := p.failure().Error()
	for _, want := range []string{"exit status 3", "line 100", p.log} {
		if !strings.Contains(message, want) {
			t.Errorf("%q is not in %s", want, message)
		}
	}
	if strings.Contains(message, "line 50\n") {
		t.Errorf("too much is shown: %s", message)
	}
}

func TestStopIsPoliteFirst(t *testing.T) {
	p := shell(t, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done")
	for !strings.Contains(tail(p.log), "up") {
		time.Sleep(time.Millisecond)
	}
	p.stop(false)
	if got := tail(p.log); !strings.Contains(got, "bye") {
		t.Errorf("log: %s", got)
	}
}

func TestWaitEndsWithTheProcess(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	prober := &prober{client: server.Client(), say: t.Logf}
	err := prober.wait(context.Background(), shell(t, "echo no luck; exit 1"), server.URL)
	if err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("got %v", err)
	}
}

func TestWaitEndsWhenReady(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	p := shell(t, "sleep 60")
	defer p.stop(true)
	prober := &prober{client: server.Client(), say: t.Logf}
	if err := prober.wait(context.Background(), p, server.URL); err != nil || asked != 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestTheControlSocketWorksInADeepDirectory(t *testing.T) {
	directory := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30))
	l, err := newLayout(directory)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir()) // back afterwards: the socket's code changes it
	stopped := make(chan struct{})
	c := &cluster{layout: l, restarts: make(chan restart), infos: make(chan chan Info), stop: func() { close(stopped) }}
	control, err := c.serveControl()
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	go func() {
		request := <-c.restarts
		if !request.kill || request.down != time.Second {
			t.Errorf("got %+v", request)
		}
		request.done <- nil
	}()
	if err := RestartAPIServer(context.Background(), l.root, true, time.Second); err != nil {
		t.Error(err)
	}
	if err := Stop(context.Background(), l.root); err != nil {
		t.Error(err)
	}
	<-stopped
}

func TestOnlyWhatIsMissingIsSaid(t *testing.T) {
	for report, want := range map[string]string{
		"[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n": "etcd",
		"[-]a failed: x\n[-]b failed: x\n[-]c failed: x\n[-]d failed: x\n":   "a, b and 2 more",
		"no such page\n": "no such page",
	} {
		if got := unready(report); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
