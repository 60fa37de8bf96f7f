package launch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"securitywatch.io/e2e/cluster/node"
	"securitywatch.io/e2e/cluster/pki"
)

func TestWhatNodesCannotBeIsRefused(t *testing.T) {
	for want, options := range map[string]Options{
		"without --nodes":   {Images: []node.Image{{}}},
		"too many":          {Nodes: 100, CgroupDriver: "systemd"},
		"systemd or cgroup": {Nodes: 1, CgroupDriver: "other"},
	} {
		if err := checkNodes(options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if err := checkNodes(Options{}); err != nil {
		t.Error(err)
	}
}

func TestANodeIsReadyWhenPodsMayBePlaced(t *testing.T) {
	found := &corev1.Node{}
	if got := unreadyNode(found); !strings.Contains(got, "not reported") {
		t.Error(got)
	}
	found.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Message: "no network"}}
	if got := unreadyNode(found); got != "no network" {
		t.Error(got)
	}
	found.Status.Conditions[0].Status = corev1.ConditionTrue
	found.Spec.Taints = []corev1.Taint{{Key: "not-ready"}}
	if got := unreadyNode(found); !strings.Contains(got, "not-ready") {
		t.Error(got)
	}
	found.Spec.Taints = nil
	if got := unreadyNode(found); got != "" {
		t.Error(got)
	}
}

func TestOnlyTheGuestsOwnScriptsAreToldOf(t *testing.T) {
	console := filepath.Join(t.TempDir(), "console")
	text := "[    0.1] Linux\r\n[    9.2] node-setup[88]: node: the network is up\r\nkubelet: node-status\r\n"
	if err := os.WriteFile(console, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := toldLines(console); !slices.Equal(got, []string{"the network is up"}) {
		t.Errorf("%q", got)
	}
}

func TestANodesKubeletReachesTheHost(t *testing.T) {
	authority, err := pki.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := nodeCredentials(node.Node{Number: 1}, node.Cluster{APIServerPort: 4444}, authority)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(credentials.KubeletKubeconfig); !strings.Contains(text, "https://10.0.2.2:4444\n") {
		t.Error(text)
	}
}

func TestTheAPIServerReachesKubeletsThroughTheTunnelOnlyWithRealNodes(t *testing.T) {
	const flag = "--egress-selector-config-file="
	has := func(arguments []string) bool {
		return slices.ContainsFunc(arguments, func(a string) bool { return strings.HasPrefix(a, flag) })
	}
	if has(apiServerArguments(layout{}, ports{}, false)) || !has(apiServerArguments(layout{}, ports{}, true)) {
		t.Error("the flag is not where it should be")
	}
}

func TestAMachineThatHangsIsResetAFewTimes(t *testing.T) {
	began := time.Now()
	after := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	s := silence{since: began}
	resets := 0
	for seconds := range 600 {
		if s.tooLong(0, after(seconds)) {
			resets++
		}
	}
	if resets != mostResets {
		t.Errorf("%d resets", resets)
	}
	s = silence{since: began}
	for seconds := range 600 {
		if s.tooLong(int64(seconds/50), after(seconds)) {
			t.Errorf("it printed something, and was reset after %d s", seconds)
		}
	}
}
