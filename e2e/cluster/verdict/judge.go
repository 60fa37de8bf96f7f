package main

import (
	"fmt"
	"io"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// Verdict of one tool.
type Verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// Verdicts of all tools.
type Verdicts struct {
	Kstatus Verdict `json:"kstatus"`
	ArgoCD  Verdict `json:"argocd"`
}

// judge asks both libraries. The script, if any, is what Argo CD is configured with for the object's kind.
func judge(object *unstructured.Unstructured, script string) (Verdicts, error) {
	var verdicts Verdicts
	computed, err := status.Compute(object.DeepCopy())
	if err != nil {
		return verdicts, fmt.Errorf("kstatus: %w", err)
	}
	verdicts.Kstatus = Verdict{Status: computed.Status.String(), Message: computed.Message}

	overrides := lua.ResourceHealthOverrides{}
	if script != "" {
		overrides[lua.GetConfigMapKey(object.GroupVersionKind())] = v1alpha1.ResourceOverride{HealthLua: script}
	}
	// As Argo CD's controller does: what is being deleted, then the script, then the kinds it knows by itself.
	healthStatus, err := health.GetResourceHealth(object.DeepCopy(), overrides)
	if err != nil {
		return verdicts, fmt.Errorf("Argo CD: %w", err)
	}
	if healthStatus != nil {
		verdicts.ArgoCD = Verdict{Status: string(healthStatus.Status), Message: healthStatus.Message}
	}
	return verdicts, nil
}

func init() {
	// Argo CD's packages log to stderr what they return as well.
	logrus.SetOutput(io.Discard)
}
