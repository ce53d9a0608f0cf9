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
	drafts, err := readDrafts(content)
	if e, ok := errors.AsType[*yamlfile.Error](err); ok && e.Line > 0 {
		return nil, fmt.Errorf("%s:%w", path, err)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	folder := filepath.Dir(path)
	for _, d := range drafts {
		d.place = func(field string) string {
			return fmt.Sprintf("%s:%d: %s", path, cmp.Or(d.lines[field], d.line), field)
		}
		d.Key.File, d.Key.From = config.JoinDir(folder, d.Key.File), d.place(d.sources[0])
		if d.keyVariable != "" {
			d.Key.Value, d.Key.From = getenv(d.keyVariable), d.Key.From+" "+d.keyVariable
			if d.Key.Value == "" {
				return nil, fmt.Errorf("%s: the environment variable is not set, or empty", d.Key.From)
			}
		}
		d.HTTP.SetDirectory(folder)
		env, err := d.complete()
		if err != nil {
			return nil, err
		}
		environments = append(environments, env)
	}
	return environments, nil
}

// readDrafts returns the environments of a file, which are still to be completed.
func readDrafts(content []byte) (drafts []*draft, err error) {
	root, err := yamlfile.Parse(content)
	if err != nil {
		return nil, err
	}
	var defaults, list *yaml.Node
	err = yamlfile.Fields(root, func(name string, line int, value *yaml.Node) error {
		switch {
		case name == "defaults":
			defaults = value
			return yamlfile.At(line, name, newDraft().read(value, "", true, map[string]int{}))
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
	err = yamlfile.Items(list, func(node *yaml.Node) error {
		d, err := readDraft(defaults, node)
		if err != nil {
			return err
		}
		// Titles are for people: a/b/c has two readings.
		same := func(o *draft) bool { return o.Project == d.Project && o.Name == d.Name }
		if i := slices.IndexFunc(drafts, same); i >= 0 {
			return yamlfile.At(d.lines["name"], "name",
				fmt.Errorf("%q is already used at line %d", d.Title(), drafts[i].lines["name"]))
		}
		drafts = append(drafts, d)
		return nil
	})
	return drafts, yamlfile.At(list.Line, "environments", err)
}

// readDraft returns the environment made of a node and the defaults.
func readDraft(defaults, node *yaml.Node) (*draft, error) {
	d := newDraft()
	d.line, d.lines = node.Line, map[string]int{}
	for i, block := range []*yaml.Node{defaults, node} {
		own := map[string]int{}
		if err := d.read(block, "", i == 0, own); err != nil {
			return nil, err
		}
		maps.Copy(d.lines, own)
		// Each of the two settings replaces the other one in the defaults.
		proxy, url, environment := &d.HTTP.ProxyConfig, own["proxy_url"] > 0, own["proxy_from_environment"] > 0
		switch {
		case url && !environment:
			proxy.ProxyFromEnvironment = proxy.ProxyURL.URL == nil
		case environment && !url && proxy.ProxyFromEnvironment:
			proxy.ProxyURL = config.URL{}
			if own["no_proxy"] == 0 {
				proxy.NoProxy = ""
			}
		}
	}
	switch {
	case d.Name == "":
		return nil, yamlfile.At(d.line, "name", errors.New("missing"))
	case len(d.sources) > 1:
		return nil, yamlfile.At(d.lines[d.sources[1]], d.sources[1],
			errors.New("want one of secret_key_file, secret_key_env and secret_key"))
	case len(d.sources) == 0:
		return nil, yamlfile.At(d.line, "secret_key_file",
			errors.New("missing; want the name of a file, or secret_key_env or secret_key instead"))
	}
	return d, nil
}

// read reads the fields of a mapping and its sections. Prefix is the section's name and
// a dot. It puts the lines of the fields that are set into lines. Defaults may not have
// fields that belong to one environment.
func (d *draft) read(node *yaml.Node, prefix string, defaults bool, lines map[string]int) error {
	return yamlfile.Fields(node, func(name string, line int, value *yaml.Node) error {
		field, known := prefix+name, []string{}
		outer, inner, dotted := strings.Cut(name, ".")
		for _, s := range d.settings {
			section, _, _ := strings.Cut(s.field, ".")
			switch {
			case s.field == field && dotted:
				return yamlfile.At(line, field, fmt.Errorf("unknown field; want %s: with %s: below it", outer, inner))
			case s.field == field:
				lines[field] = line
				return yamlfile.At(line, field, s.read(value, defaults))
			case section == field:
				lines[field] = line
				return yamlfile.At(line, field, d.read(value, field+".", defaults, lines))
			case s.refused() || defaults && s.own: // It is no suggestion.
			default:
				known = append(known, section, s.field)
			}
		}
		if isExtension(name) {
			return nil
		}
		return yamlfile.At(line, field, notation.Unknown("field", "", field, known))
	})
}

// isExtension reports whether a field is free for the user, for example for anchors.
func isExtension(name string) bool { return strings.HasPrefix(name, "x-") }
