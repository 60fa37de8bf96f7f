// Package fakenodes claims to be kubelets: it reports nodes Ready and the pods bound to them running, and runs nothing.
//
// It is there for what the control plane does with nodes, such as the roll-out of a DaemonSet. Whether a pod would
// really start is for a real kubelet to show.
package fakenodes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	workers = 8
	// Enough that a thousand nodes are there within seconds; the default (5) is for one kubelet.
	requestsPerSecond = 500
	byNode            = "node"
)

// Options of the fake nodes.
type Options struct {
	// Count of nodes to make at the start. Later ones, made by anyone with NodeLabel, are served as well.
	Count int
	// Heartbeat is the time between two renewals of a node's Lease; 0 renews none.
	Heartbeat time.Duration
	// Say gets what cannot be done; it is tried again.
	Say func(format string, arguments ...any)
}

type fleet struct {
	options Options
	client  kubernetes.Interface
	nodes   cache.SharedIndexInformer
	pods    cache.SharedIndexInformer
	queue   workqueue.TypedRateLimitingInterface[item]
}

// item is the key of an object to look at; a node has no namespace.
type item struct{ namespace, name string }

// Run serves the nodes until ctx ends.
func Run(ctx context.Context, config *rest.Config, options Options) error {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = requestsPerSecond, requestsPerSecond
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	f, err := newFleet(client, options)
	if err != nil {
		return err
	}
	go f.nodes.RunWithContext(ctx)
	go f.pods.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), f.nodes.HasSynced, f.pods.HasSynced) {
		return nil
	}
	if err := f.createNodes(ctx); err != nil {
		return err
	}
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { f.work(ctx) })
	}
	if options.Heartbeat > 0 {
		group.Go(func() { f.renewLeases(ctx) })
	}
	<-ctx.Done()
	f.queue.ShutDown()
	group.Wait()
	return nil
}

func newFleet(client kubernetes.Interface, options Options) (*fleet, error) {
	nodes := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(
		func(list *metav1.ListOptions) { list.LabelSelector = NodeLabel }))
	pods := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(
		func(list *metav1.ListOptions) {
			list.FieldSelector = fields.OneTermNotEqualSelector("spec.nodeName", "").String()
		}))
	f := &fleet{
		options: options,
		client:  client,
		nodes:   nodes.Core().V1().Nodes().Informer(),
		pods:    pods.Core().V1().Pods().Informer(),
		queue:   workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[item]()),
	}
	if err := f.pods.AddIndexers(cache.Indexers{byNode: func(object any) ([]string, error) {
		return []string{object.(*corev1.Pod).Spec.NodeName}, nil
	}}); err != nil {
		return nil, err
	}
	if _, err := f.pods.AddEventHandler(changes(func(object any) { f.queue.Add(key(object)) })); err != nil {
		return nil, err
	}
	_, err := f.nodes.AddEventHandler(changes(func(object any) {
		f.queue.Add(key(object))
		// The node may be new, or may have become well: its pods go on.
		pods, _ := f.pods.GetIndexer().ByIndex(byNode, object.(*corev1.Node).Name)
		for _, pod := range pods {
			f.queue.Add(key(pod))
		}
	}))
	return f, err
}

// changes calls back for new and changed objects; of what is gone nothing is left to do.
func changes(call func(object any)) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{AddFunc: call, UpdateFunc: func(_, object any) { call(object) }}
}

func key(object any) item {
	meta := object.(metav1.Object)
	return item{meta.GetNamespace(), meta.GetName()}
}

func (f *fleet) work(ctx context.Context) {
	for {
		next, shutdown := f.queue.Get()
		if shutdown {
			return
		}
		if err := f.look(ctx, next); err != nil && ctx.Err() == nil {
			if !apierrors.IsConflict(err) { // a conflict only says that the copy was old
				f.options.Say("%s/%s: %v", next.namespace, next.name, err)
			}
			f.queue.AddRateLimited(next)
		} else {
			f.queue.Forget(next)
		}
		f.queue.Done(next)
	}
}

func (f *fleet) look(ctx context.Context, next item) error {
	if next.namespace == "" {
		node := f.node(next.name)
		if node == nil {
			return nil
		}
		return f.serveNode(ctx, node)
	}
	object, exists, err := f.pods.GetIndexer().GetByKey(next.namespace + "/" + next.name)
	if err != nil || !exists {
		return err
	}
	return f.servePod(ctx, object.(*corev1.Pod))
}

// node is a served node, or nil.
func (f *fleet) node(name string) *corev1.Node {
	object, exists, err := f.nodes.GetIndexer().GetByKey(name)
	if err != nil || !exists {
		return nil
	}
	return object.(*corev1.Node)
}

func (f *fleet) createNodes(ctx context.Context) error {
	numbers := make(chan int)
	failures := make(chan error, workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for number := range numbers {
				_, err := f.client.CoreV1().Nodes().Create(ctx, newNode(fmt.Sprintf("fake-%d", number)), metav1.CreateOptions{})
				if err != nil && !apierrors.IsAlreadyExists(err) {
					failures <- err
					return
				}
			}
		})
	}
	var failed error
	for number := 0; number < f.options.Count && failed == nil; number++ {
		select {
		case numbers <- number:
		case failed = <-failures:
		}
	}
	close(numbers)
	group.Wait()
	close(failures)
	for err := range failures {
		failed = errors.Join(failed, err)
	}
	return failed
}
