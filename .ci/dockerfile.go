// Lints a Dockerfile by the rules of docker build --check, with no engine and
// no registry, and says nothing if it is good.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/opencontainers/go-digest"
)

// noBase stands for images that are not looked at.
type noBase struct{}

func (noBase) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte("{}"), nil
}

func main() {
	name := os.Args[1]
	text, err := os.ReadFile(name)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	source := llb.NewSourceMap(nil, name, "Dockerfile", text)
	source.Definition = &llb.Definition{} // It is read, but not needed.
	results, err := dockerfile2llb.DockerfileLint(context.Background(), text, dockerfile2llb.ConvertOpt{MetaResolver: noBase{}, SourceMap: source})
	if err == nil && results.Error != nil {
		err = fmt.Errorf("%s", results.Error.Message)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, w := range results.Warnings {
		line := int32(1)
		if r := w.Location.GetRanges(); len(r) > 0 {
			line = r[0].Start.Line
		}
		fmt.Printf("%s:%d: %s: %s\n", name, line, w.RuleName, w.Detail)
	}
	if len(results.Warnings) > 0 {
		os.Exit(1)
	}
}
