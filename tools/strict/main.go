// Command strict reads Kubernetes manifests from its standard input. It fails if one has an unknown field, a field twice, or
// a value of the wrong type. An API server drops such a field silently unless the client asks for strict validation. It needs
// no cluster: it knows the types of this module's k8s.io/client-go.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	manifest "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

func main() {
	known, err := check(os.Stdin, os.Stdout)
	if err == nil && known == 0 {
		err = errors.New("no manifests")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "strict:", err)
		os.Exit(1)
	}
}

// check returns all mistakes in one error, and the number of manifests that it knows and found correct.
func check(r io.Reader, w io.Writer) (known int, err error) {
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := manifest.NewYAMLReader(bufio.NewReader(r))
	var mistakes []error
	for {
		document, err := documents.Read()
		if err == io.EOF {
			return known, errors.Join(mistakes...)
		}
		if err != nil {
			return known, err
		}
		var head *struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal(document, &head); err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		if head == nil { // a template that came out empty
			continue
		}
		_, _, err = decoder.Decode(document, nil, nil)
		switch {
		case err == nil:
			known++
		case runtime.IsNotRegisteredError(err): // a custom resource, whose fields only its operator knows
			fmt.Fprintf(w, "%s/%s: a custom resource, not checked\n", head.Kind, head.Metadata.Name)
		default:
			mistakes = append(mistakes, fmt.Errorf("%s/%s: %w", head.Kind, head.Metadata.Name, err))
		}
	}
}
