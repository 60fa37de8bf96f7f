package fakenodes

import (
	"context"
	"hash/fnv"
	"net"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type action int

const (
	leave action = iota
	run
	remove
)

// plan is what a kubelet would do next with a pod of its node.
func plan(pod *corev1.Pod, node *corev1.Node) action {
	switch {
	case node == nil: // another's
		return leave
	case pod.DeletionTimestamp != nil:
		return remove
	case pod.Status.Phase == corev1.PodPending && node.Labels[PodsLabel] != PodsPending:
		return run
	default:
		return leave
	}
}

func (f *fleet) servePod(ctx context.Context, pod *corev1.Pod) error {
	pods := f.client.CoreV1().Pods(pod.Namespace)
	switch plan(pod, f.node(pod.Spec.NodeName)) {
	case remove:
		// What ends a graceful deletion: the node says that nothing runs any more.
		immediately := int64(0)
		return ignoreGone(pods.Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &immediately,
			Preconditions:      &metav1.Preconditions{UID: &pod.UID},
		}))
	case run:
		pod = pod.DeepCopy()
		pod.Status = runningStatus(pod, metav1.Now())
		_, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		return ignoreGone(err)
	default:
		return nil
	}
}

// runningStatus is the status of a pod whose init containers have ended well and whose containers are ready.
func runningStatus(pod *corev1.Pod, now metav1.Time) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.ObservedGeneration = pod.Generation
	status.Phase = corev1.PodRunning
	status.StartTime = &now
	status.HostIP = nodeAddress
	status.HostIPs = []corev1.HostIP{{IP: nodeAddress}}
	status.PodIP = podAddress(pod)
	status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
	for _, kind := range []corev1.PodConditionType{corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		setCondition(&status, corev1.PodCondition{
			Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now, ObservedGeneration: pod.Generation,
		})
	}
	status.InitContainerStatuses = nil
	for _, container := range pod.Spec.InitContainers {
		ended := &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: now, FinishedAt: now}
		state := corev1.ContainerState{Terminated: ended}
		sidecar := container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
		if sidecar {
			state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, containerStatus(container, state, sidecar))
	}
	status.ContainerStatuses = nil
	for _, container := range pod.Spec.Containers {
		state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
		status.ContainerStatuses = append(status.ContainerStatuses, containerStatus(container, state, true))
	}
	return status
}

func containerStatus(container corev1.Container, state corev1.ContainerState, started bool) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name: container.Name, Image: container.Image, ImageID: "fake://" + container.Image,
		Ready: true, Started: &started, State: state,
	}
}

func setCondition(status *corev1.PodStatus, condition corev1.PodCondition) {
	for i := range status.Conditions {
		if status.Conditions[i].Type == condition.Type {
			status.Conditions[i] = condition
			return
		}
	}
	status.Conditions = append(status.Conditions, condition)
}

// podAddress is the same each time and seldom another pod's; nothing listens there.
func podAddress(pod *corev1.Pod) string {
	if pod.Spec.HostNetwork {
		return nodeAddress
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(pod.UID))
	sum := hash.Sum32()
	return net.IPv4(198, 18|byte(sum>>16&1), byte(sum>>8), byte(sum)).String() // 198.18.0.0/15: for benchmarks
}
