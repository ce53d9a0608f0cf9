package config

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

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
	v := single(target, boolean)
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

func rewrites(target *[]index.Rewrite) value {
	v := list(target, each(Rewrite))
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
		return eachOf(node, v.scalar)
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

// eachOf calls visit for each item of a list.
func eachOf(node *yaml.Node, visit func(*yaml.Node) error) error {
	if node.Kind != yaml.SequenceNode {
		return errors.New("must be a list")
	}
	for _, item := range node.Content {
		if err := visit(item); err != nil {
			return at(item.Line, "", err)
		}
	}
	return nil
}

// proxyHeader has the headers of requests to a proxy: a list of values for each.
func proxyHeader(target *config.ProxyHeader) value {
	return value{decode: func(node *yaml.Node) error {
		*target = config.ProxyHeader{}
		return eachHeader(node, func(name string, values *yaml.Node) error {
			return eachOf(values, func(item *yaml.Node) error {
				text, err := headerValue(item)
				(*target)[name] = append((*target)[name], config.Secret(text))
				return err
			})
		})
	}}
}

// httpHeaders has the headers of requests to the API: for each, lists of values, of
// secrets, and of files with a value.
func httpHeaders(target **config.Headers, file func(string) (string, error)) value {
	return value{decode: func(node *yaml.Node) error {
		*target = &config.Headers{Headers: map[string]config.Header{}}
		return eachHeader(node, func(name string, node *yaml.Node) error {
			canonical := http.CanonicalHeaderKey(name)
			_, reserved := config.ReservedHeaders[canonical]
			if reserved || canonical == "Accept" || canonical == "X-Trigger-Branch" {
				return fmt.Errorf("%s is set by the exporter itself", canonical)
			}
			h := config.Header{}
			err := eachField(node, func(kind string, line int, node *yaml.Node) error {
				add := map[string]func(string){
					"values":  func(text string) { h.Values = append(h.Values, text) },
					"secrets": func(text string) { h.Secrets = append(h.Secrets, config.Secret(text)) },
					"files":   func(text string) { text, _ = file(text); h.Files = append(h.Files, text) },
				}[kind]
				if add == nil {
					return at(line, "", fmt.Errorf("%s is none of values, secrets and files", kind))
				}
				return eachOf(node, func(item *yaml.Node) error {
					text, err := headerValue(item)
					add(text)
					return err
				})
			})
			(*target).Headers[name] = h
			return err
		})
	}}
}

// eachHeader calls visit for each field of a mapping, all of which are names of
// headers: none is left out for beginning with x-.
func eachHeader(node *yaml.Node, visit func(name string, value *yaml.Node) error) error {
	return eachField(node, func(name string, line int, value *yaml.Node) error {
		if !httpguts.ValidHeaderFieldName(name) {
			return at(line, "", fmt.Errorf("%q is not the name of a header", name))
		}
		return at(line, "", visit(name, value))
	})
}

// headerValue says nothing of the value, which may be a secret.
func headerValue(node *yaml.Node) (string, error) {
	text, err := scalar(node, false)
	if err == nil && !httpguts.ValidHeaderFieldValue(text) {
		return "", errors.New("has a character that no header's value can have")
	}
	return text, err
}
