package config

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"waitpoint_exporter/client"

	"github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
)

// maxNodes is far more than a file of any use has, and little to read.
const maxNodes = 1_000_000

// ReadFile returns the environments of a configuration file, each complete and
// valid, or the first thing that is wrong, by file, line and field. Relative
// paths in it are relative to its folder. Getenv gives secret_key_env its keys.
func ReadFile(path string, getenv func(string) string) ([]Environment, error) {
	ctx, cancel := withTimeout(context.Background(), loadTimeout)
	defer cancel()
	content, err := files.whole(ctx, path)
	if err != nil {
		return nil, err
	}
	f := file{path: path, getenv: getenv}
	var environments []Environment
	root, err := parse(content)
	if err == nil {
		environments, err = f.read(root)
	}
	switch p, ok := errors.AsType[*placed](err); {
	case !ok:
		return environments, err
	case p.line < 0:
		return nil, p.err
	default:
		return nil, fmt.Errorf("%s:%w", path, p)
	}
}

// A placed error has its line and field; zero and empty if it has none. One of a line
// below zero has its place in its text.
type placed struct {
	line  int
	field string
	err   error
}

// Error begins with the line, as compilers do.
func (p *placed) Error() string {
	text := p.err.Error()
	if p.field != "" {
		text = p.field + ": " + text
	}
	if p.line == 0 {
		return " " + text
	}
	return fmt.Sprintf("%d: %s", p.line, text)
}

// at gives an error a place, as far as it has none. It is nil if err is.
func at(line int, field string, err error) error {
	if err == nil {
		return nil
	}
	p, ok := errors.AsType[*placed](err)
	if !ok {
		p = &placed{err: err}
	}
	p.line, p.field = cmp.Or(p.line, line), cmp.Or(p.field, field)
	return p
}

var (
	errNoEnvironments = errors.New("missing; want a list of at least one")
	yamlLine          = regexp.MustCompile(`line (\d+): `)
)

// parse returns the only document that there is, without aliases and merge keys.
func parse(content []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, next yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, at(0, "environments", errNoEnvironments)
	}
	if err == nil {
		if err = decoder.Decode(&next); err == nil {
			return nil, at(0, "", errors.New("more than one document: want one"))
		}
	}
	if !errors.Is(err, io.EOF) {
		text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
		if m := yamlLine.FindStringSubmatchIndex(text); m != nil {
			line, _ = strconv.Atoi(text[m[2]:m[3]])
			text = text[m[1]:]
		}
		return nil, at(line, "", errors.New(text))
	}
	_, err = resolve(&document, map[*yaml.Node]int{})
	return document.Content[0], err
}

// resolve puts what aliases and merge keys stand for in their place. It returns how
// many nodes there are then, and refuses those without end. Sizes are of the nodes
// that it has been at, 0 while it is.
func resolve(node *yaml.Node, sizes map[*yaml.Node]int) (int, error) {
	size, ok := sizes[node]
	if ok && size == 0 {
		return 0, at(node.Line, "&"+node.Anchor, errors.New("contains itself"))
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
			return 0, at(node.Line, "the file",
				fmt.Errorf("has more than %d values here, with those that aliases stand for", maxNodes))
		}
	}
	sizes[node] = size
	return size, merge(node)
}

// merge gives a mapping the fields of those that its merge keys name, but for
// fields that it has itself; of two mappings that have a field the first counts.
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
				return at(pair[0].Line, "<<", errors.New("want a mapping, such as *base, or a list of them"))
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

// eachField calls visit for each field of a mapping, of which none may stand twice.
// Where a value is empty, which is as good as none, it is nil.
func eachField(node *yaml.Node, visit func(name string, line int, value *yaml.Node) error) error {
	if node == nil {
		return nil
	} else if node.Kind != yaml.MappingNode {
		return at(node.Line, "", errors.New("must be a mapping of fields"))
	}
	seen := map[string]int{}
	for pair := range slices.Chunk(node.Content, 2) {
		name, line, value := pair[0].Value, pair[0].Line, pair[1]
		if first, ok := seen[name]; ok {
			return at(line, name, fmt.Errorf("stands already at line %d", first))
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

// isExtension reports whether a field is its user's own, such as one for anchors.
func isExtension(name string) bool { return strings.HasPrefix(name, "x-") }

// file is one that is being read.
type file struct {
	path   string
	getenv func(string) string
}

// read returns the environments of the file.
func (f file) read(root *yaml.Node) (environments []Environment, err error) {
	var defaults, list *yaml.Node
	err = eachField(root, func(name string, line int, value *yaml.Node) error {
		switch {
		case name == "defaults":
			defaults = value
			_, err := readBlock(newDraft(""), value, "", true)
			return at(line, name, err)
		case name == "environments":
			list = value
		case !isExtension(name):
			return at(line, name, errors.New("unknown field; known are defaults and environments"))
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, at(0, "the file", err)
	case list == nil || list.Kind == yaml.SequenceNode && len(list.Content) == 0:
		return nil, at(0, "environments", errNoEnvironments)
	}
	lines := map[string]int{}
	err = eachOf(list, func(node *yaml.Node) error {
		env, line, err := f.environment(defaults, node)
		if err != nil {
			return err
		}
		if first, ok := lines[env.Title()]; ok {
			return at(line, "name", fmt.Errorf("%q stands already at line %d", env.Title(), first))
		}
		lines[env.Title()] = line
		environments = append(environments, env)
		return nil
	})
	return environments, at(list.Line, "environments", err)
}

// environment returns that of a node, and the line of its name.
func (f file) environment(defaults, node *yaml.Node) (Environment, int, error) {
	d := newDraft(filepath.Dir(f.path))
	lines, err := readBlock(d, defaults, "", true)
	if err != nil {
		return Environment{}, 0, err
	}
	own, err := readBlock(d, node, "", false)
	if err != nil {
		return Environment{}, 0, err
	}
	for field, line := range own {
		lines[field] = line
	}
	place := func(field string) string {
		return fmt.Sprintf("%s:%d: %s", f.path, cmp.Or(lines[field], node.Line), field)
	}
	if d.Name == "" {
		return Environment{}, 0, at(node.Line, "name", errors.New("missing"))
	}
	var set []string
	for _, s := range []struct{ field, value string }{
		{"secret_key_file", d.Key.File}, {"secret_key_env", d.keyVariable}, {"secret_key", d.Key.Value},
	} {
		if s.value != "" {
			set = append(set, s.field)
		}
	}
	switch {
	case len(set) == 0:
		return Environment{}, 0, at(node.Line, "secret_key_file",
			errors.New("missing; want the name of a file, or secret_key_env or secret_key instead"))
	case len(set) > 1:
		return Environment{}, 0, at(lines[set[1]], set[1], errors.New("want one of secret_key_file, secret_key_env and secret_key"))
	}
	d.Key.From = place(set[0])
	if d.keyVariable != "" {
		d.Key.Value = f.getenv(d.keyVariable)
		if d.Key.Value == "" && client.LooksLikeKey(d.keyVariable) {
			return Environment{}, 0, at(lines[set[0]], set[0],
				errors.New("this looks like a key itself; want the name of an environment variable"))
		}
		d.Key.From += " " + d.keyVariable
	}
	env, err := d.complete(place)
	return env, lines["name"], at(-1, "", err)
}

// readBlock reads the fields of a mapping, and of the sections in it, whose names
// begin with the prefix. It returns the lines of those that it has set. Defaults
// have no fields of an environment's own.
func readBlock(d *draft, node *yaml.Node, prefix string, defaults bool) (map[string]int, error) {
	lines := map[string]int{}
	err := eachField(node, func(name string, line int, value *yaml.Node) error {
		field := prefix + name
		lines[field] = line
		for _, s := range d.settings {
			switch {
			case s.field == field && defaults && s.own:
				return at(line, field, errors.New("is for a single environment: want it in environments"))
			case s.field == field && value == nil:
				delete(lines, field)
				return nil
			case s.field == field && s.refused():
				return at(line, field, errors.New(s.help))
			case s.field == field:
				return at(value.Line, field, s.UnmarshalYAML(value))
			case prefix == "" && strings.HasPrefix(s.field, name+"."):
				more, err := readBlock(d, value, name+".", defaults)
				for field, line := range more {
					lines[field] = line
				}
				return at(line, field, err)
			}
		}
		if isExtension(name) {
			return nil
		}
		return at(line, field, unknown("field", "", field, d.fields(defaults)))
	})
	if prefix == "" {
		// What is said of the one takes the place of what was said of the other.
		proxy := &d.HTTP.ProxyConfig
		url, environment := lines["proxy_url"] > 0, lines["proxy_from_environment"] > 0
		switch {
		case url && !environment:
			proxy.ProxyFromEnvironment = proxy.ProxyURL.URL == nil
		case environment && !url && proxy.ProxyFromEnvironment:
			proxy.ProxyURL, proxy.NoProxy = config.URL{}, ""
		}
	}
	return lines, err
}
