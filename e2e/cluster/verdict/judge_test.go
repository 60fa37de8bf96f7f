package main

import (
	"strings"
	"testing"
)

const script = `
local health = {status = "Progressing", message = "no status yet"}
if obj.status ~= nil and obj.status.ready then
  health.status = "Healthy"
  health.message = "ready"
end
return health
`

func object(tail string) string {
	return "apiVersion: example.org/v1\nkind: Thing\nmetadata:\n  name: a\n  generation: 2\n" + tail
}

func verdictsOf(t *testing.T, text, script string) Verdicts {
	t.Helper()
	object, err := read(nil, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	verdicts, err := judge(object, script)
	if err != nil {
		t.Fatal(err)
	}
	return verdicts
}

func TestVerdicts(t *testing.T) {
	const deleted = "  deletionTimestamp: \"2026-01-01T00:00:00Z\"\n  finalizers: [example.org/x]\n"
	for _, test := range []struct{ name, object, script, kstatus, argocd string }{
		{"nothing known", object(""), "", "Current", ""},
		{"an old status", object("status:\n  observedGeneration: 1\n"), "", "InProgress", ""},
		{"stalled", object("status:\n  observedGeneration: 2\n  conditions:\n  - {type: Stalled, status: \"True\", reason: X, message: why}\n"), "", "Failed", ""},
		{"not ready", object("status:\n  conditions:\n  - {type: Ready, status: \"False\", reason: X, message: why}\n"), "", "InProgress", ""},
		{"a script, not ready", object(""), script, "Current", "Progressing"},
		{"a script, ready", object("status:\n  ready: true\n"), script, "Current", "Healthy"},
		{"deleted", object(deleted), script, "Terminating", "Progressing"},
	} {
		verdicts := verdictsOf(t, test.object, test.script)
		if verdicts.Kstatus.Status != test.kstatus {
			t.Errorf("%s: kstatus says %+v, want %s", test.name, verdicts.Kstatus, test.kstatus)
		}
		if verdicts.ArgoCD.Status != test.argocd {
			t.Errorf("%s: Argo CD says %+v, want %q", test.name, verdicts.ArgoCD, test.argocd)
		}
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	for text, want := range map[string]string{
		"a: [":      "not YAML",
		"a: b":      "not a Kubernetes object",
		"just text": "not a Kubernetes object",
	} {
		if _, err := read(nil, strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	parsed, err := read(nil, strings.NewReader(object("")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := judge(parsed, "this is not Lua"); err == nil {
		t.Error("a script that is not Lua is accepted")
	}
}
