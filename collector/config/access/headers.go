package access

import (
	"errors"
	"fmt"
	"net/http"

	"waitpoint_exporter/collector/config/yamlfile"

	"github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"
)

// ProxyHeader returns a function that reads the headers of requests to a proxy: a list
// of values for each.
func ProxyHeader(target *config.ProxyHeader) func(*yaml.Node) error {
	return func(node *yaml.Node) error {
		*target = config.ProxyHeader{}
		return eachHeader(node, func(name string, values *yaml.Node) error {
			return eachValue(values, func(text string) {
				(*target)[name] = append((*target)[name], config.Secret(text))
			})
		})
	}
}

// HTTPHeaders returns a function that reads the headers of requests to the API: lists of
// values, of secrets, and of files with a value for each.
func HTTPHeaders(target **config.Headers, file func(string) (string, error)) func(*yaml.Node) error {
	return func(node *yaml.Node) error {
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
	}
}

// eachHeader calls visit for each field of a mapping. All are names of headers, also
// those that begin with x-.
func eachHeader(node *yaml.Node, visit func(name string, value *yaml.Node) error) error {
	return yamlfile.Fields(node, func(name string, line int, value *yaml.Node) error {
		if !httpguts.ValidHeaderFieldName(name) {
			return yamlfile.At(line, "", fmt.Errorf("%q is not the name of a header", name))
		}
		return yamlfile.At(line, "", visit(name, value))
	})
}

// eachValue calls visit for each value in a list. Its errors do not quote values, which
// may be secrets.
func eachValue(node *yaml.Node, visit func(text string)) error {
	return yamlfile.Items(node, func(item *yaml.Node) error {
		text, err := yamlfile.Text(item, false)
		if err == nil && !httpguts.ValidHeaderFieldValue(text) {
			err = errors.New("has a character that no header's value can have")
		}
		visit(text)
		return err
	})
}
