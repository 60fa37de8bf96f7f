package fakenodes

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func pod(phase corev1.PodPhase, deleted bool) *corev1.Pod {
	pod := &corev1.Pod{Status: corev1.PodStatus{Phase: phase}}
	if deleted {
		now := metav1.Now()
		pod.DeletionTimestamp = &now
	}
	return pod
}

func TestPlan(t *testing.T) {
	well := newNode("well")
	sick := newNode("sick")
	sick.Labels[PodsLabel] = PodsPending
	for _, test := range []struct {
		name string
		pod  *corev1.Pod
		node *corev1.Node
		want action
	}{
		{"a pending pod runs", pod(corev1.PodPending, false), well, run},
		{"a running pod is left alone", pod(corev1.PodRunning, false), well, leave},
		{"a deleted pod is removed", pod(corev1.PodRunning, true), well, remove},
		{"a pod of another's node is left alone", pod(corev1.PodPending, false), nil, leave},
		{"a pod of a sick node stays pending", pod(corev1.PodPending, false), sick, leave},
		{"a deleted pod of a sick node is removed", pod(corev1.PodPending, true), sick, remove},
	} {
		if got := plan(test.pod, test.node); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestRunningStatusKeepsWhatTheSchedulerSaid(t *testing.T) {
	pod := pod(corev1.PodPending, false)
	pod.Generation = 3
	pod.Spec.Containers = []corev1.Container{{Name: "probe", Image: "probe:1"}}
	pod.Spec.InitContainers = []corev1.Container{{Name: "prepare", Image: "probe:1"}}
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
		{Type: corev1.PodReady, Status: corev1.ConditionFalse},
	}
	status := runningStatus(pod, metav1.NewTime(time.Unix(1, 0)))
	conditions := map[corev1.PodConditionType]corev1.ConditionStatus{}
	for _, condition := range status.Conditions {
		if _, twice := conditions[condition.Type]; twice {
			t.Errorf("%s is there twice", condition.Type)
		}
		conditions[condition.Type] = condition.Status
	}
	for _, kind := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodReady, corev1.ContainersReady} {
		if conditions[kind] != corev1.ConditionTrue {
			t.Errorf("%s is %q", kind, conditions[kind])
		}
	}
	if status.Phase != corev1.PodRunning || status.ObservedGeneration != 3 {
		t.Errorf("phase %s, generation %d", status.Phase, status.ObservedGeneration)
	}
	if len(status.ContainerStatuses) != 1 || !status.ContainerStatuses[0].Ready {
		t.Errorf("containers: %+v", status.ContainerStatuses)
	}
	if status.InitContainerStatuses[0].State.Terminated == nil {
		t.Errorf("init containers: %+v", status.InitContainerStatuses)
	}
}

func TestNotReadyTaintOnlyIsTakenOff(t *testing.T) {
	kept, changed := withoutNotReady([]corev1.Taint{{Key: corev1.TaintNodeNotReady}, {Key: "dedicated"}})
	if !changed || len(kept) != 1 || kept[0].Key != "dedicated" {
		t.Errorf("kept %v, changed %v", kept, changed)
	}
	if _, changed := withoutNotReady(kept); changed {
		t.Error("changed without the taint")
	}
}
