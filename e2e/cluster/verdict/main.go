// Command verdict tells what GitOps tools say about the health of a Kubernetes object, by their own libraries.
//
// It reads one object (YAML or JSON) from stdin or a file and prints one line of JSON:
//
//	{"kstatus":{"status":"InProgress","message":"..."},"argocd":{"status":"Progressing","message":"..."}}
//
// Flux and kpt go by kstatus; argocd.status is "" where Argo CD has no opinion, which
// it shows as no health at all.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func main() {
	script := flag.String("argocd-health", "", "file of the Lua health script that Argo CD would be configured with for this kind")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: verdict [--argocd-health FILE.lua] [OBJECT.yaml]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(*script, flag.Args(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(1)
	}
}

func run(scriptFile string, arguments []string, stdin io.Reader, stdout io.Writer) error {
	object, err := read(arguments, stdin)
	if err != nil {
		return err
	}
	script := ""
	if scriptFile != "" {
		content, err := os.ReadFile(scriptFile)
		if err != nil {
			return err
		}
		script = string(content)
	}
	verdicts, err := judge(object, script)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(verdicts)
}

func read(arguments []string, stdin io.Reader) (*unstructured.Unstructured, error) {
	var content []byte
	var err error
	switch {
	case len(arguments) == 0, len(arguments) == 1 && arguments[0] == "-":
		content, err = io.ReadAll(stdin)
	case len(arguments) == 1:
		content, err = os.ReadFile(arguments[0])
	default:
		return nil, fmt.Errorf("one object, not %d", len(arguments))
	}
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	asJSON, err := yaml.YAMLToJSON(content)
	if err != nil {
		return nil, fmt.Errorf("the object is not YAML: %w", err)
	}
	// Unlike a plain decoder this keeps integers apart from floats, and insists on apiVersion and kind.
	if err := object.UnmarshalJSON(asJSON); err != nil {
		return nil, fmt.Errorf("not a Kubernetes object: %w", err)
	}
	return object, nil
}
