// Package yamlfile reads YAML strictly: it resolves aliases and merge keys, refuses
// duplicate fields, and reports the line of each error.
package yamlfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds what aliases may expand to.
const maxNodes = 1_000_000

// An Error is an error at a line and in a field. Either may be unset.
type Error struct {
	Line  int
	Field string
	Err   error
}

// Error begins with the line, as compilers do.
func (e *Error) Error() string {
	text := e.Err.Error()
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	if e.Line > 0 {
		text = fmt.Sprintf("%d: %s", e.Line, text)
	}
	return text
}

// Unwrap returns the reason alone.
func (e *Error) Unwrap() error { return e.Err }

// At sets the line and the field of an error unless they are set. It is nil if err is.
func At(line int, field string, err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Err: err}
	}
	e.Line, e.Field = cmp.Or(e.Line, line), cmp.Or(e.Field, field)
	return e
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// Parse returns the content of the only document, with aliases and merge keys resolved.
// It is nil for an empty file.
func Parse(content []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, next yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err == nil {
		if err = decoder.Decode(&next); err == nil {
			return nil, At(0, "", errors.New("more than one document: want one"))
		}
	}
	if !errors.Is(err, io.EOF) {
		text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
		if m := yamlLine.FindStringSubmatchIndex(text); m != nil {
			line, _ = strconv.Atoi(text[m[2]:m[3]])
			text = text[m[1]:]
		}
		return nil, At(line, "", errors.New(text))
	}
	_, err = resolve(&document, map[*yaml.Node]int{})
	return document.Content[0], err
}

// resolve resolves aliases and merge keys and returns the number of nodes after that.
// It refuses cycles and too many nodes. Sizes has the number for each node that was
// visited, 0 while it is.
func resolve(node *yaml.Node, sizes map[*yaml.Node]int) (int, error) {
	size, ok := sizes[node]
	if ok && size == 0 {
		return 0, At(node.Line, "&"+node.Anchor, errors.New("contains itself"))
	} else if ok {
		return size, nil
	}
	sizes[node] = 0
	size = 1
	for i, child := range node.Content {
		if child.Kind == yaml.AliasNode {
			child = child.Alias
			node.Content[i] = child
		}
		n, err := resolve(child, sizes)
		if err != nil {
			return 0, err
		}
		if size += n; size > maxNodes {
			return 0, At(node.Line, "the file",
				fmt.Errorf("has more than %d values here, with those that aliases stand for", maxNodes))
		}
	}
	sizes[node] = size
	return size, merge(node)
}

// merge adds the fields of the mappings that merge keys name. The mapping's own fields
// take precedence, then those of the first mapping.
func merge(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return nil
	}
	var own, merged []*yaml.Node
	seen := map[string]bool{}
	for pair := range slices.Chunk(node.Content, 2) {
		if pair[0].Tag != "!!merge" {
			own = append(own, pair...)
			seen[pair[0].Value] = true
			continue
		}
		sources := []*yaml.Node{pair[1]}
		if pair[1].Kind == yaml.SequenceNode {
			sources = pair[1].Content
		}
		for _, source := range sources {
			if source.Kind != yaml.MappingNode {
				return At(pair[0].Line, "<<", errors.New("want a mapping, such as *base, or a list of them"))
			}
			merged = append(merged, source.Content...)
		}
	}
	for pair := range slices.Chunk(merged, 2) {
		if !seen[pair[0].Value] {
			own = append(own, pair...)
			seen[pair[0].Value] = true
		}
	}
	node.Content = own
	return nil
}

// Fields calls visit for each field of a mapping and refuses duplicates. An empty value
// is nil.
func Fields(node *yaml.Node, visit func(name string, line int, value *yaml.Node) error) error {
	if node == nil {
		return nil
	} else if node.Kind != yaml.MappingNode {
		return At(node.Line, "", errors.New("must be a mapping of fields"))
	}
	seen := map[string]int{}
	for pair := range slices.Chunk(node.Content, 2) {
		name, line, value := pair[0].Value, pair[0].Line, pair[1]
		if first, ok := seen[name]; ok {
			return At(line, name, fmt.Errorf("is already set at line %d", first))
		}
		seen[name] = line
		if value.ShortTag() == "!!null" {
			value = nil
		}
		if err := visit(name, line, value); err != nil {
			return err
		}
	}
	return nil
}

// Items calls visit for each item of a list. An empty value has none.
func Items(node *yaml.Node, visit func(*yaml.Node) error) error {
	if node == nil {
		return nil
	} else if node.Kind != yaml.SequenceNode {
		return errors.New("must be a list")
	}
	for _, item := range node.Content {
		if err := visit(item); err != nil {
			return At(item.Line, "", err)
		}
	}
	return nil
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_]\w*)(?:[:?+=-][^}]*)?\}`)

// Text returns the text of a single value. It refuses ${name}, since variables are not
// expanded, except after the last = if groups is set: there it is a group.
func Text(node *yaml.Node, groups bool) (string, error) {
	if node.Kind != yaml.ScalarNode {
		return "", errors.New("must be a single value")
	}
	text := node.Value
	if groups {
		text = text[:strings.LastIndexByte(text, '=')+1]
	}
	if m := variable.FindStringSubmatch(text); m != nil {
		return "", fmt.Errorf("${%s} is not replaced, since a configuration file has no variables: write the value "+
			"itself, use secret_key_env for a key, or make the file with a tool such as envsubst", m[1])
	}
	return node.Value, nil
}
