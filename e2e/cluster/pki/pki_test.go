package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
)

func issue(t *testing.T, subject Subject) (*Authority, *x509.Certificate) {
	t.Helper()
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(subject)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	return authority, loaded.Leaf
}

func verify(authority *Authority, leaf *x509.Certificate, host string, usage x509.ExtKeyUsage) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Certificate())
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

func TestServingCertificateIsGoodForItsHosts(t *testing.T) {
	authority, leaf := issue(t, Subject{User: "server", Hosts: []string{"localhost", "127.0.0.1"}})
	for _, host := range []string{"localhost", "127.0.0.1"} {
		if err := verify(authority, leaf, host, x509.ExtKeyUsageServerAuth); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if verify(authority, leaf, "example.org", x509.ExtKeyUsageServerAuth) == nil {
		t.Error("good for a host that it does not name")
	}
}

func TestClientCertificateNamesUserAndGroupsAndCannotServe(t *testing.T) {
	authority, leaf := issue(t, Subject{User: "alice", Groups: []string{"system:masters"}})
	if leaf.Subject.CommonName != "alice" || leaf.Subject.Organization[0] != "system:masters" {
		t.Errorf("subject: %v", leaf.Subject)
	}
	if err := verify(authority, leaf, "", x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	if verify(authority, leaf, "", x509.ExtKeyUsageServerAuth) == nil {
		t.Error("may serve")
	}
}

func TestAnotherAuthorityIsNotTrusted(t *testing.T) {
	_, leaf := issue(t, Subject{User: "alice"})
	other, _ := issue(t, Subject{User: "bob"})
	if verify(other, leaf, "", x509.ExtKeyUsageClientAuth) == nil {
		t.Error("trusted")
	}
}

func TestKeysAreForTheOwnerOnly(t *testing.T) {
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Pair()
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := pair.Write(t.TempDir(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(key)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}
