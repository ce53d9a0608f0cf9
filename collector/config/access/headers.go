package access

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"waitpoint_exporter/collector/config/yamlfile"

	"github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"
)

// ProxyHeader reads the headers of requests to a proxy: a list of values for each.
func ProxyHeader(node *yaml.Node) (config.ProxyHeader, error) {
	headers := config.ProxyHeader{}
	err := eachHeader(node, func(name string, node *yaml.Node) error {
		list, err := values[config.Secret](node)
		if len(list) > 0 {
			headers[name] = list
		}
		return err
	})
	return headers, err
}

// HTTPHeaders reads the headers of requests to the API: lists of values, of secrets, and
// of files with a value for each.
func HTTPHeaders(node *yaml.Node) (*config.Headers, error) {
	headers := map[string]config.Header{}
	err := eachHeader(node, func(name string, node *yaml.Node) error {
		name = http.CanonicalHeaderKey(name)
		if _, ok := config.ReservedHeaders[name]; ok || name == "Accept" || name == "X-Trigger-Branch" {
			return fmt.Errorf("%s is set by the exporter itself", name)
		}
		h := config.Header{}
		err := yamlfile.Fields(node, func(kind string, line int, node *yaml.Node) (err error) {
			switch kind {
			case "values":
				h.Values, err = values[string](node)
			case "secrets":
				h.Secrets, err = values[config.Secret](node)
			case "files":
				h.Files, err = values[string](node)
			default:
				err = yamlfile.At(line, "", fmt.Errorf("%s is none of values, secrets and files", kind))
			}
			return err
		})
		headers[name] = h
		return err
	})
	return &config.Headers{Headers: headers}, err
}

// CheckHeaders returns an error if a file with a header's value cannot be read now.
func CheckHeaders(headers *config.Headers) error {
	if headers == nil {
		return nil
	}
	ctx, cancel := withTimeout(context.Background(), loadTimeout)
	defer cancel()
	for _, name := range slices.Sorted(maps.Keys(headers.Headers)) {
		for _, path := range headers.Headers[name].Files {
			value, err := fileSecret(path).Fetch(ctx)
			if err == nil && !httpguts.ValidHeaderFieldValue(value) {
				err = fmt.Errorf("%s has a character that no header's value can have", path)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// eachHeader calls visit for each field of a mapping. All are names of headers, also
// those that begin with x-. Names that differ only in case are the same header.
func eachHeader(node *yaml.Node, visit func(name string, value *yaml.Node) error) error {
	lines := map[string]int{}
	return yamlfile.Fields(node, func(name string, line int, value *yaml.Node) error {
		canonical := http.CanonicalHeaderKey(name)
		if !httpguts.ValidHeaderFieldName(name) {
			return yamlfile.At(line, "", fmt.Errorf("%q is not the name of a header", name))
		} else if lines[canonical] > 0 {
			return yamlfile.At(line, "", fmt.Errorf("%s is already set at line %d: "+
				"upper and lower case make no difference", canonical, lines[canonical]))
		}
		lines[canonical] = line
		return yamlfile.At(line, "", visit(name, value))
	})
}

// values returns the values in a list. Its errors do not quote them: they may be secrets.
func values[T ~string](node *yaml.Node) (list []T, err error) {
	err = yamlfile.Items(node, func(item *yaml.Node) error {
		text, err := yamlfile.Text(item, false)
		if err == nil && !httpguts.ValidHeaderFieldValue(text) {
			err = errors.New("has a character that no header's value can have")
		}
		list = append(list, T(text))
		return err
	})
	return list, err
}
