package dns

import (
	"context"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// services is a local copy of what names depend on.
type services struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
}

// watchServices returns when the copy is complete; it is kept up to date until ctx ends.
func watchServices(ctx context.Context, client kubernetes.Interface) *services {
	factory := informers.NewSharedInformerFactory(client, 0)
	s := &services{
		services: factory.Core().V1().Services().Lister(),
		slices:   factory.Discovery().V1().EndpointSlices().Lister(),
	}
	informers := []cache.SharedIndexInformer{
		factory.Core().V1().Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer(),
	}
	factory.StartWithContext(ctx)
	for _, informer := range informers {
		cache.WaitForCacheSync(ctx.Done(), informer.HasSynced)
	}
	return s
}

func (s *services) lookup(namespace, name string) ([]netip.Addr, bool) {
	service, err := s.services.Services(namespace).Get(name)
	if err != nil {
		return nil, false
	}
	if service.Spec.ClusterIP != corev1.ClusterIPNone {
		return parse(service.Spec.ClusterIP), true
	}
	endpoints, err := s.slices.EndpointSlices(namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name}))
	if err != nil {
		return nil, true
	}
	return ready(endpoints), true
}

// ready are the addresses behind a Service without an address of its own.
func ready(endpoints []*discoveryv1.EndpointSlice) []netip.Addr {
	var addresses []netip.Addr
	for _, slice := range endpoints {
		for _, endpoint := range slice.Endpoints {
			// Nothing said means ready.
			if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
				continue
			}
			for _, address := range endpoint.Addresses {
				addresses = append(addresses, parse(address)...)
			}
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}

func parse(text string) []netip.Addr {
	if address, err := netip.ParseAddr(text); err == nil && address.Is4() {
		return []netip.Addr{address}
	}
	return nil
}
