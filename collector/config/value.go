package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"waitpoint_exporter/collector/config/notation"
	"waitpoint_exporter/collector/config/yamlfile"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"
)

// A value is where a setting goes, read from a flag's text and a file's node alike.
// Its errors name neither.
type value struct {
	set    func(text string) error
	clear  func()                 // Empties a list; nil for what is a single value.
	decode func(*yaml.Node) error // Reads what is neither a text nor a list of them.
	toggle bool
	groups bool // A ${name} in it, past the last =, stands for a group.
}

func single[T any](target *T, parse func(string) (T, error)) value {
	return value{set: func(text string) error {
		v, err := parse(text)
		if err == nil {
			*target = v
		}
		return err
	}}
}

func toggle(target *bool) value {
	v := single(target, notation.Boolean)
	v.toggle = true
	return v
}

// list is a setting of any number of values; add adds one.
func list[T any](target *[]T, add func(list []T, text string) ([]T, error)) value {
	return value{clear: func() { *target = nil }, set: func(text string) error {
		more, err := add(*target, text)
		if err == nil {
			*target = more
		}
		return err
	}}
}

// each returns a function that adds what parse reads.
func each[T any](parse func(string) (T, error)) func([]T, string) ([]T, error) {
	return func(list []T, text string) ([]T, error) {
		v, err := parse(text)
		return append(list, v), err
	}
}

func plain(text string) (string, error) { return text, nil }

func secret(text string) (config.Secret, error) { return config.Secret(text), nil }

// addThreshold adds a duration to a list in ascending order that must not hold it.
func addThreshold(list []Threshold, text string) ([]Threshold, error) {
	d, err := notation.Duration(text)
	if err != nil {
		return nil, err
	}
	i, found := slices.BinarySearchFunc(list, d, func(t Threshold, d time.Duration) int {
		return cmp.Compare(t.Duration, d)
	})
	if found {
		return nil, fmt.Errorf("%q is the same time as %q: want one of them", text, list[i].Text)
	}
	return slices.Insert(list, i, Threshold{text, d}), nil
}

func rewrites(target *[]index.Rewrite) value {
	v := list(target, each(notation.Rewrite))
	v.groups = true
	return v
}

// UnmarshalYAML implements yaml.Unmarshaler. What a list had is gone.
func (v value) UnmarshalYAML(node *yaml.Node) error {
	switch {
	case v.decode != nil:
		return v.decode(node)
	case v.clear != nil:
		v.clear()
		return yamlfile.Items(node, v.scalar)
	}
	return v.scalar(node)
}

func (v value) scalar(node *yaml.Node) error {
	text, err := scalar(node, v.groups)
	if err == nil {
		err = v.set(text)
	}
	return err
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_]\w*)(?:[:?+=-][^}]*)?\}`)

// scalar returns the text of a single value, in which no variable may be named.
func scalar(node *yaml.Node, groups bool) (string, error) {
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

// proxyHeader has the headers of requests to a proxy: a list of values for each.
func proxyHeader(target *config.ProxyHeader) value {
	return value{decode: func(node *yaml.Node) error {
		*target = config.ProxyHeader{}
		return eachHeader(node, func(name string, values *yaml.Node) error {
			return eachValue(values, func(text string) { (*target)[name] = append((*target)[name], config.Secret(text)) })
		})
	}}
}

// httpHeaders has the headers of requests to the API: for each, lists of values, of
// secrets, and of files with a value.
func httpHeaders(target **config.Headers, file func(string) (string, error)) value {
	return value{decode: func(node *yaml.Node) error {
		*target = &config.Headers{Headers: map[string]config.Header{}}
		return eachHeader(node, func(name string, node *yaml.Node) error {
			name = http.CanonicalHeaderKey(name)
			if _, ok := config.ReservedHeaders[name]; ok || name == "Accept" || name == "X-Trigger-Branch" {
				return fmt.Errorf("%s is set by the exporter itself", name)
			}
			h := config.Header{}
			err := yamlfile.Fields(node, func(kind string, line int, node *yaml.Node) error {
				switch kind {
				case "values":
					return eachValue(node, func(text string) { h.Values = append(h.Values, text) })
				case "secrets":
					return eachValue(node, func(text string) { h.Secrets = append(h.Secrets, config.Secret(text)) })
				case "files":
					return eachValue(node, func(text string) { text, _ = file(text); h.Files = append(h.Files, text) })
				}
				return yamlfile.At(line, "", fmt.Errorf("%s is none of values, secrets and files", kind))
			})
			(*target).Headers[name] = h
			return err
		})
	}}
}

// eachHeader calls visit for each field of a mapping, all of which are names of
// headers: none is left out for beginning with x-.
func eachHeader(node *yaml.Node, visit func(name string, value *yaml.Node) error) error {
	return yamlfile.Fields(node, func(name string, line int, value *yaml.Node) error {
		if !httpguts.ValidHeaderFieldName(name) {
			return yamlfile.At(line, "", fmt.Errorf("%q is not the name of a header", name))
		}
		return yamlfile.At(line, "", visit(name, value))
	})
}

// eachValue calls visit for each item of a list of headers' values. It says nothing of
// them, which may be secrets.
func eachValue(node *yaml.Node, visit func(text string)) error {
	return yamlfile.Items(node, func(item *yaml.Node) error {
		text, err := scalar(item, false)
		if err == nil && !httpguts.ValidHeaderFieldValue(text) {
			err = errors.New("has a character that no header's value can have")
		}
		visit(text)
		return err
	})
}
