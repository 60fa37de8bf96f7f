// Package dns gives the Services of a cluster their names, as the cluster's add-on does that Kubernetes asks for.
//
// It knows what programs in pods ask: addresses of Services, with and without a cluster address. Other names are asked
// of the nameserver of the machine it runs on.
package dns

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Domain of the cluster, as kubelets tell their pods.
const Domain = "cluster.local"

const (
	servicesSuffix = ".svc." + Domain + "."
	zoneSuffix     = "." + Domain + "."
	// A Service may be made again with another address.
	lifetimeSeconds = 5
)

// Lookup says which IPv4 addresses a Service has, and whether it exists.
type Lookup func(namespace, service string) (addresses []netip.Addr, exists bool)

// answer is the reply to a query about a name of the cluster; mine is false for other names.
func answer(query dnsmessage.Message, lookup Lookup) (reply dnsmessage.Message, mine bool) {
	reply.Header = dnsmessage.Header{
		ID: query.ID, Response: true, Authoritative: true, RecursionDesired: query.RecursionDesired, RecursionAvailable: true,
	}
	reply.Questions = query.Questions
	if len(query.Questions) != 1 {
		reply.RCode = dnsmessage.RCodeFormatError
		return reply, true
	}
	question := query.Questions[0]
	name := strings.ToLower(question.Name.String())
	if !strings.HasSuffix(name, zoneSuffix) {
		return dnsmessage.Message{}, false
	}
	service, namespace, valid := split(name)
	if !valid {
		reply.RCode = dnsmessage.RCodeNameError
		return reply, true
	}
	addresses, exists := lookup(namespace, service)
	if !exists {
		reply.RCode = dnsmessage.RCodeNameError
		return reply, true
	}
	if question.Type != dnsmessage.TypeA {
		return reply, true // the name exists, but has nothing of that type
	}
	for _, address := range addresses {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{
				Name: question.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: lifetimeSeconds,
			},
			Body: &dnsmessage.AResource{A: address.As4()},
		})
	}
	return reply, true
}

// split takes "SERVICE.NAMESPACE.svc.cluster.local." apart.
func split(name string) (service, namespace string, valid bool) {
	name, valid = strings.CutSuffix(name, servicesSuffix)
	if !valid {
		return "", "", false
	}
	service, namespace, valid = strings.Cut(name, ".")
	return service, namespace, valid && service != "" && namespace != "" && !strings.Contains(namespace, ".")
}

// failure is the reply when the machine's nameserver gives none.
func failure(query dnsmessage.Message) dnsmessage.Message {
	return dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionDesired: query.RecursionDesired, RCode: dnsmessage.RCodeServerFailure},
		Questions: query.Questions,
	}
}
