package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"waitpoint_exporter/client"
	"waitpoint_exporter/collector/config/access"
	"waitpoint_exporter/collector/config/notation"
	"waitpoint_exporter/collector/config/yamlfile"

	"github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
)

// ReadFile returns the environments of a configuration file, complete and valid, or
// the first error, with file, line and field. Relative paths are relative to the
// file's folder. Getenv returns the keys for secret_key_env.
func ReadFile(path string, getenv func(string) string) (environments []Environment, err error) {
	defer func() { err = client.HideKeys(err) }()
	content, err := access.ReadFile(path)
	if err != nil {
		return nil, err
	}
	root, err := yamlfile.Parse(content)
	if err == nil {
		environments, err = file{path, getenv}.read(root)
	}
	if e, ok := errors.AsType[*yamlfile.Error](err); ok && e.Line > 0 {
		return nil, fmt.Errorf("%s:%w", path, err)
	} else if ok {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return environments, err
}

// isExtension reports whether a field is free for the user, for example for anchors.
func isExtension(name string) bool { return strings.HasPrefix(name, "x-") }

// file is a configuration file that is being read.
type file struct {
	path   string
	getenv func(string) string
}

// read returns the environments of the file.
func (f file) read(root *yaml.Node) (environments []Environment, err error) {
	var defaults, list *yaml.Node
	err = yamlfile.Fields(root, func(name string, line int, value *yaml.Node) error {
		switch {
		case name == "defaults":
			defaults = value
			_, err := readBlock(newDraft(""), value, "", true)
			return yamlfile.At(line, name, err)
		case name == "environments":
			list = value
		case !isExtension(name):
			return yamlfile.At(line, name, errors.New("unknown field; known are defaults and environments"))
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, yamlfile.At(0, "the file", err)
	case list == nil || list.Kind == yaml.SequenceNode && len(list.Content) == 0:
		return nil, yamlfile.At(0, "environments", errors.New("missing; want a list of at least one"))
	}
	// Titles are for people: a/b/c has two readings.
	type labels struct{ project, name string }
	lines, drafts := map[labels]int{}, []*draft{}
	err = yamlfile.Items(list, func(node *yaml.Node) error {
		d, line, err := f.draft(defaults, node)
		if err != nil {
			return err
		}
		own := labels{d.Project, d.Name}
		if first, ok := lines[own]; ok {
			return yamlfile.At(line, "name", fmt.Errorf("%q is already used at line %d", d.Title(), first))
		}
		lines[own] = line
		drafts = append(drafts, d)
		return nil
	})
	if err != nil {
		return nil, yamlfile.At(list.Line, "environments", err)
	}
	for _, d := range drafts {
		env, err := d.complete()
		if err != nil {
			return nil, err
		}
		environments = append(environments, env)
	}
	return environments, nil
}

// draft returns the environment made of a node and the defaults, and the line of its
// name.
func (f file) draft(defaults, node *yaml.Node) (*draft, int, error) {
	d := newDraft(filepath.Dir(f.path))
	lines, err := readBlock(d, defaults, "", true)
	if err != nil {
		return nil, 0, err
	}
	own, err := readBlock(d, node, "", false)
	if err != nil {
		return nil, 0, err
	}
	maps.Copy(lines, own)
	d.place = func(field string) string {
		return fmt.Sprintf("%s:%d: %s", f.path, cmp.Or(lines[field], node.Line), field)
	}
	if d.Name == "" {
		return nil, 0, yamlfile.At(node.Line, "name", errors.New("missing"))
	}
	from := ""
	for field, value := range map[string]string{
		"secret_key_file": d.Key.File, "secret_key_env": d.keyVariable, "secret_key": d.Key.Value,
	} {
		switch {
		case value == "":
		case from == "":
			from = field
		default:
			later := slices.MaxFunc([]string{from, field}, func(a, b string) int {
				return cmp.Compare(lines[a], lines[b])
			})
			return nil, 0, yamlfile.At(lines[later], later,
				errors.New("want one of secret_key_file, secret_key_env and secret_key"))
		}
	}
	if from == "" {
		return nil, 0, yamlfile.At(node.Line, "secret_key_file",
			errors.New("missing; want the name of a file, or secret_key_env or secret_key instead"))
	}
	d.Key.From = d.place(from)
	if d.keyVariable != "" {
		d.Key.Value = f.getenv(d.keyVariable)
		d.Key.From += " " + d.keyVariable
	}
	return d, lines["name"], nil
}

// readBlock reads the fields of a mapping and its sections. Prefix is the section's
// name and a dot. It returns the lines of the fields that were set. Defaults may not
// have fields that belong to one environment.
func readBlock(d *draft, node *yaml.Node, prefix string, defaults bool) (map[string]int, error) {
	lines := map[string]int{}
	err := yamlfile.Fields(node, func(name string, line int, value *yaml.Node) error {
		field := prefix + name
		lines[field] = line
		for _, s := range d.settings {
			switch {
			case s.field == field && defaults && s.own:
				return yamlfile.At(line, field, errors.New("belongs to a single environment: set it in environments"))
			case s.field == field && value == nil:
				delete(lines, field)
				return nil
			case s.field == field && s.refused():
				return yamlfile.At(line, field, errors.New(s.help))
			case s.field == field:
				return yamlfile.At(value.Line, field, s.UnmarshalYAML(value))
			case prefix == "" && strings.HasPrefix(s.field, name+"."):
				more, err := readBlock(d, value, name+".", defaults)
				maps.Copy(lines, more)
				return yamlfile.At(line, field, err)
			}
		}
		if isExtension(name) {
			return nil
		}
		return yamlfile.At(line, field, notation.Unknown("field", "", field, d.fields(defaults)))
	})
	if prefix == "" {
		// Each of the two settings replaces the other one in the defaults.
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
