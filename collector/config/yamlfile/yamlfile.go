// Package yamlfile reads YAML strictly: with aliases and merge keys, without duplicate
// fields, and with the line of each error.
package yamlfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

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

// Unwrap returns the error without line and field.
func (e *Error) Unwrap() error { return e.Err }

// At sets the line and the field of an error unless they are set. It returns nil if err
// is nil.
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

// located moves the line at the beginning of a library error's text to an Error. Of
// several errors it returns the first.
func located(err error) error {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if m := yamlLine.FindStringSubmatchIndex(text); m != nil {
		line, _ = strconv.Atoi(text[m[2]:m[3]])
		text, _, _ = strings.Cut(text[m[1]:], "\n")
	}
	return At(line, "", errors.New(text))
}

// Parse returns the content of the only document. It is nil for an empty file.
func Parse(content []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, next yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err == nil {
		err = decoder.Decode(&next)
	}
	switch {
	case err == nil:
		return nil, At(0, "", errors.New("more than one document: want one"))
	case !errors.Is(err, io.EOF):
		return nil, located(err)
	}
	return document.Content[0], nil
}

// resolved returns the node that an alias refers to, and any other node unchanged.
func resolved(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// Fields calls visit for each field of a mapping, in the order of lines, with the fields
// that merge keys add. It refuses duplicates. An empty value is nil.
func Fields(node *yaml.Node, visit func(name string, line int, value *yaml.Node) error) error {
	if node == nil {
		return nil
	} else if node = resolved(node); node.Kind != yaml.MappingNode {
		return At(node.Line, "", errors.New("must be a mapping of fields"))
	}
	values, lines, merge := map[string]yaml.Node{}, map[string]int{}, 0
	for pair := range slices.Chunk(node.Content, 2) {
		line, name := pair[0].Line, resolved(pair[0]).Value
		if pair[0].Tag == "!!merge" {
			merge = line
		} else if first, ok := lines[name]; ok {
			return At(line, name, fmt.Errorf("is already set at line %d", first))
		} else {
			lines[name] = line
		}
	}
	if err := node.Decode(&values); err != nil {
		return At(merge, "<<", located(err)) // Only a merge key can be wrong here.
	}
	for name, value := range values {
		lines[name] = cmp.Or(lines[name], value.Line)
	}
	for _, name := range slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		return cmp.Or(cmp.Compare(lines[a], lines[b]), cmp.Compare(a, b))
	}) {
		found := values[name]
		value := resolved(&found)
		if value.ShortTag() == "!!null" {
			value = nil
		}
		if err := visit(name, lines[name], value); err != nil {
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
		if err := visit(resolved(item)); err != nil {
			return At(item.Line, "", err)
		}
	}
	return nil
}

var (
	variable = regexp.MustCompile(`\$\{([A-Za-z_][\w.]*)(?:[:?+=-][^}]*)?\}`)
	// A whole value that is a variable of other tools: $NAME, $(NAME), %NAME%, {{…}}.
	whole = regexp.MustCompile(`^(\$[A-Z_][A-Z0-9_]*|\$\([A-Za-z_][\w.]*\)|%[A-Za-z_]\w*%|\$?\{\{.*\}\})$`)
)

// Text returns the text of a single value. It refuses ${name}, since variables are not
// expanded, except after the last = if groups is set: there it is a group. It refuses
// other notations of variables if they are the whole value, without quoting it.
func Text(node *yaml.Node, groups bool) (string, error) {
	if node.Kind != yaml.ScalarNode {
		return "", errors.New("must be a single value")
	}
	text, name := node.Value, ""
	if groups {
		text = text[:strings.LastIndexByte(text, '=')+1]
	}
	if m := variable.FindStringSubmatch(text); m != nil {
		name = "${" + m[1] + "}"
	}
	if whole.MatchString(node.Value) {
		name = "the variable"
	}
	if name != "" {
		return "", fmt.Errorf("%s is not replaced, since a configuration file has no variables: write the value "+
			"itself, use secret_key_env for a key, or make the file with a tool such as envsubst", name)
	}
	return node.Value, nil
}
