package fakenodes

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// NodeLabel marks the nodes that are served.
	NodeLabel = "fake.securitywatch.io/node"
	// PodsLabel with the value PodsPending makes a node sick: pods that come to it stay pending.
	PodsLabel   = "fake.securitywatch.io/pods"
	PodsPending = "pending"
)

const (
	nodeAddress = "192.0.2.1" // of the range that is for documentation: it leads nowhere
	// As kubelets do: a node is lost after four missed heartbeats.
	heartbeatsPerLease = 4
)

func newNode(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		NodeLabel:              "true",
		corev1.LabelHostname:   name,
		corev1.LabelOSStable:   "linux",
		corev1.LabelArchStable: "amd64",
	}}}
}

// serveNode makes the node Ready and takes off the taint that every new node has.
func (f *fleet) serveNode(ctx context.Context, node *corev1.Node) error {
	if !ready(node) {
		node = node.DeepCopy()
		node.Status = nodeStatus(metav1.Now())
		updated, err := f.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
		if err != nil {
			return ignoreGone(err)
		}
		node = updated
	}
	if taints, changed := withoutNotReady(node.Spec.Taints); changed {
		node = node.DeepCopy()
		node.Spec.Taints = taints
		_, err := f.client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{})
		return ignoreGone(err)
	}
	return nil
}

func ready(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func withoutNotReady(taints []corev1.Taint) (kept []corev1.Taint, changed bool) {
	for _, taint := range taints {
		if taint.Key == corev1.TaintNodeNotReady {
			changed = true
		} else {
			kept = append(kept, taint)
		}
	}
	return kept, changed
}

func nodeStatus(now metav1.Time) corev1.NodeStatus {
	resources := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("8"),
		corev1.ResourceMemory: resource.MustParse("32Gi"),
		corev1.ResourcePods:   resource.MustParse("110"),
	}
	status := corev1.NodeStatus{
		Capacity:    resources,
		Allocatable: resources,
		Addresses:   []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeAddress}},
		NodeInfo: corev1.NodeSystemInfo{
			OperatingSystem: "linux", Architecture: "amd64",
			KernelVersion: "fake", OSImage: "fake", ContainerRuntimeVersion: "fake://0", KubeletVersion: "fake",
		},
	}
	for _, condition := range []struct {
		kind   corev1.NodeConditionType
		status corev1.ConditionStatus
	}{
		{corev1.NodeReady, corev1.ConditionTrue},
		{corev1.NodeMemoryPressure, corev1.ConditionFalse},
		{corev1.NodeDiskPressure, corev1.ConditionFalse},
		{corev1.NodePIDPressure, corev1.ConditionFalse},
	} {
		status.Conditions = append(status.Conditions, corev1.NodeCondition{
			Type: condition.kind, Status: condition.status, Reason: "Fake", Message: "a fake node for tests",
			LastHeartbeatTime: now, LastTransitionTime: now,
		})
	}
	return status
}

// renewLeases spreads the renewals over the interval, for a thousand at once would be felt by everything else.
func (f *fleet) renewLeases(ctx context.Context) {
	for ctx.Err() == nil {
		names := f.nodes.GetIndexer().ListKeys()
		pause := f.options.Heartbeat / time.Duration(max(len(names), 1))
		tick := time.NewTicker(max(pause, time.Millisecond))
		for range max(len(names), 1) {
			if len(names) > 0 {
				if err := f.renewLease(ctx, names[0]); err != nil && ctx.Err() == nil {
					f.options.Say("lease of %s: %v", names[0], err)
				}
				names = names[1:]
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		tick.Stop()
	}
}

func (f *fleet) renewLease(ctx context.Context, name string) error {
	leases := f.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NowMicro()
	lease, err := leases.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		seconds := int32((heartbeatsPerLease * f.options.Heartbeat).Seconds())
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
