package dns

import (
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func known(namespace, service string) ([]netip.Addr, bool) {
	if namespace == "parseable" && service == "parseable" {
		return []netip.Addr{netip.MustParseAddr("10.96.7.8")}, true
	}
	return nil, false
}

func query(name string, kind dnsmessage.Type) dnsmessage.Message {
	return dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
}

func TestAServiceHasItsAddress(t *testing.T) {
	reply, mine := answer(query("Parseable.parseable.svc.cluster.local.", dnsmessage.TypeA), known)
	if !mine || reply.RCode != dnsmessage.RCodeSuccess || reply.ID != 7 || !reply.Response || len(reply.Answers) != 1 {
		t.Fatalf("%v %+v", mine, reply)
	}
	if body := reply.Answers[0].Body.(*dnsmessage.AResource); body.A != [4]byte{10, 96, 7, 8} {
		t.Error(body)
	}
	if _, err := reply.Pack(); err != nil {
		t.Error(err)
	}
}

func TestOtherTypesOfAKnownNameAreEmpty(t *testing.T) {
	reply, mine := answer(query("parseable.parseable.svc.cluster.local.", dnsmessage.TypeAAAA), known)
	if !mine || reply.RCode != dnsmessage.RCodeSuccess || len(reply.Answers) != 0 {
		t.Errorf("%v %+v", mine, reply)
	}
}

func TestUnknownNamesOfTheClusterDoNotExist(t *testing.T) {
	for _, name := range []string{
		"other.parseable.svc.cluster.local.", "parseable.svc.cluster.local.", "svc.cluster.local.",
		"a.parseable.parseable.svc.cluster.local.", "parseable.parseable.svc.default.svc.cluster.local.",
	} {
		if reply, mine := answer(query(name, dnsmessage.TypeA), known); !mine || reply.RCode != dnsmessage.RCodeNameError {
			t.Errorf("%s: %v %v", name, mine, reply.RCode)
		}
	}
}

func TestTheRestOfTheWorldIsNotAnsweredHere(t *testing.T) {
	if _, mine := answer(query("example.org.", dnsmessage.TypeA), known); mine {
		t.Error("example.org is no name of the cluster")
	}
}
