// Command strict reads Kubernetes manifests from its standard input and fails when one has a field that the API does
// not know, has one twice, or has a value of the wrong type. Such a field is dropped without a word by an API server
// that is not asked to be strict. It needs no cluster: it knows what this module's k8s.io/client-go knows.
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

// check reports all mistakes, not the first alone, and how many manifests it could judge.
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
		case runtime.IsNotRegisteredError(err): // a custom resource: what it may hold is for its operator to say
			fmt.Fprintf(w, "%s/%s: not a kind of Kubernetes itself, not checked\n", head.Kind, head.Metadata.Name)
		default:
			mistakes = append(mistakes, fmt.Errorf("%s/%s: %w", head.Kind, head.Metadata.Name, err))
		}
	}
}
