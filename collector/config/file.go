package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"waitpoint_exporter/client"

	"github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
)

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
	f := &file{path: path, getenv: getenv, defaults: block{fields: fields{}}}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: environments: missing; want a list of at least one", path)
	} else if err != nil {
		return nil, f.syntax(err)
	}
	if err := decoder.Decode(new(yaml.Node)); err == nil {
		return nil, fmt.Errorf("%s: more than one document: want one", path)
	} else if !errors.Is(err, io.EOF) {
		return nil, f.syntax(err)
	}
	if _, err := f.resolve(&document, map[*yaml.Node]int{}); err != nil {
		return nil, err
	}
	if err := f.read(document.Content[0]); err != nil {
		return nil, err
	}
	return f.environments, nil
}

// file is one that is being read.
type file struct {
	path         string
	getenv       func(string) string
	defaults     block
	environments []Environment
}

// A block is what is said of one environment, or in defaults.
type block struct {
	line   int
	fields fields
	proxy  *config.ProxyConfig
	tls    *config.TLSConfig
	// Where they stand.
	proxyAt, tlsAt Setting
}

func (f *file) at(line int, field string) Setting {
	return Setting{Name: fmt.Sprintf("%s:%d: %s", f.path, line, field)}
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// syntax puts the line first, as compilers do.
func (f *file) syntax(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatchIndex(text); m != nil {
		return fmt.Errorf("%s:%s: %s", f.path, text[m[2]:m[3]], text[m[1]:])
	}
	return fmt.Errorf("%s: %s", f.path, text)
}

// maxNodes is far more than a file of any use has, and little to read.
const maxNodes = 1_000_000

// resolve puts what aliases stand for in their place. It returns how many nodes
// there are then, and refuses those without end. Sizes are of the nodes that it
// has been at, 0 while it is.
func (f *file) resolve(node *yaml.Node, sizes map[*yaml.Node]int) (int, error) {
	size, ok := sizes[node]
	if ok {
		if size == 0 {
			return 0, f.at(node.Line, "&"+node.Anchor).errorf("contains itself")
		}
		return size, nil
	}
	sizes[node] = 0
	size = 1
	for i, child := range node.Content {
		if child.Kind == yaml.AliasNode {
			child = child.Alias
			node.Content[i] = child
		}
		n, err := f.resolve(child, sizes)
		if err != nil {
			return 0, err
		}
		if size += n; size > maxNodes {
			return 0, f.at(node.Line, "the file").errorf("has more than %d values here, with those that aliases stand for", maxNodes)
		}
	}
	sizes[node] = size
	return size, nil
}

// pairs calls visit for each key of a mapping. A key that stands twice is an
// error, as is anything but a mapping; an empty value is as good as none.
func (f *file) pairs(node *yaml.Node, name string, visit func(key string, line int, value *yaml.Node) error) error {
	if node.Kind != yaml.MappingNode {
		return f.at(node.Line, name).errorf("must be a mapping of fields")
	}
	seen := map[string]int{}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if line, ok := seen[key.Value]; ok {
			return f.at(key.Line, key.Value).errorf("stands already at line %d", line)
		}
		seen[key.Value] = key.Line
		if value.ShortTag() == "!!null" {
			value = nil
		}
		if err := visit(key.Value, key.Line, value); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) read(root *yaml.Node) error {
	var list *yaml.Node
	err := f.pairs(root, "the file", func(key string, line int, value *yaml.Node) error {
		switch {
		case key == "environments":
			list = value
		case key != "defaults":
			return f.at(line, key).errorf("unknown field; known are defaults and environments")
		case value != nil:
			return f.block(&f.defaults, value, "defaults", settings())
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case list == nil || list.Kind == yaml.SequenceNode && len(list.Content) == 0:
		return fmt.Errorf("%s: environments: missing; want a list of at least one", f.path)
	case list.Kind != yaml.SequenceNode:
		return f.at(list.Line, "environments").errorf("must be a list")
	}
	titles := map[string]string{}
	for _, node := range list.Content {
		b := block{line: node.Line, fields: maps.Clone(f.defaults.fields), proxy: f.defaults.proxy, tls: f.defaults.tls, proxyAt: f.defaults.proxyAt, tlsAt: f.defaults.tlsAt}
		if err := f.block(&b, node, "environments", append(settings(), "name", "project", "secret_key", "secret_key_file", "secret_key_env", "preview_branch", "dashboard_url")); err != nil {
			return err
		}
		env, err := f.environment(b)
		if err != nil {
			return err
		}
		name := b.fields.one("name")
		if first, ok := titles[env.Title()]; ok {
			return name.errorf("%q stands already at line %s", env.Title(), first)
		}
		titles[env.Title()] = strings.Split(strings.TrimPrefix(name.Name, f.path+":"), ":")[0]
		f.environments = append(f.environments, env)
	}
	return nil
}

// settings are the fields that defaults may have too.
func settings() []string {
	return []string{
		"api_url", "tokens.period", "tokens.expected_wait", "tokens.require_tag", "tokens.ignore_tag", "tokens.waiting_within_period", "tokens.near_timeout", "tokens.stuck_after",
		"tags.include", "tags.exclude", "tags.rewrite", "tags.limit",
		"refresh.interval", "refresh.timeout", "refresh.max_staleness", "refresh.verify_interval",
		"api.concurrency", "api.reserve", "api.share",
		"proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header", "tls_config",
	}
}

func isList(field string) bool {
	return slices.Contains([]string{"tokens.near_timeout", "tokens.stuck_after", "tokens.expected_wait", "tags.rewrite"}, field)
}

func isSection(name string) bool {
	return slices.Contains([]string{"tokens", "tags", "refresh", "api"}, name)
}

// block takes in the fields of a mapping, and of the sections in it.
func (f *file) block(b *block, node *yaml.Node, name string, known []string) error {
	var proxy []*yaml.Node
	var visit func(prefix string) func(string, int, *yaml.Node) error
	visit = func(prefix string) func(string, int, *yaml.Node) error {
		return func(key string, line int, value *yaml.Node) error {
			field := prefix + key
			switch {
			case prefix == "" && isSection(key):
				if value == nil {
					return nil
				}
				return f.pairs(value, key, visit(key+"."))
			case !slices.Contains(known, field):
				return f.at(line, field).errorf("unknown field")
			case value == nil:
				return nil
			case field == "tls_config":
				b.tls, b.tlsAt = &config.TLSConfig{}, f.at(line, field)
				return b.tlsAt.decode(value, b.tls)
			case strings.Contains(field, "proxy"):
				b.proxyAt = f.at(line, field)
				proxy = append(proxy, &yaml.Node{Kind: yaml.ScalarNode, Value: key, Line: line}, value)
				b.proxy = &config.ProxyConfig{}
				return b.proxyAt.decode(&yaml.Node{Kind: yaml.MappingNode, Content: proxy}, b.proxy)
			}
			return f.values(b, field, value)
		}
	}
	return f.pairs(node, name, visit(""))
}

// values takes in a field that is a single value or a list of them.
func (f *file) values(b *block, field string, node *yaml.Node) error {
	nodes := []*yaml.Node{node}
	if isList(field) {
		if node.Kind != yaml.SequenceNode {
			return f.at(node.Line, field).errorf("must be a list")
		}
		nodes = node.Content
	}
	b.fields[field] = nil
	for _, n := range nodes {
		s := f.at(n.Line, field)
		if n.Kind != yaml.ScalarNode {
			return s.errorf("must be a single value")
		}
		s.Value = n.Value
		b.fields[field] = append(b.fields[field], s)
	}
	return nil
}

// notProxy says no more, since there may be a password in what is wrong.
const notProxy = "not a URL: want http://, https:// or socks5:// with a host"

var yamlUnknown = regexp.MustCompile(`field (\S+) not found`)

// decode reads one of the library's own structures, strictly. What it says of
// values may quote them, so that is left out.
func (s Setting) decode(node *yaml.Node, into any) error {
	text, err := yaml.Marshal(node)
	if err != nil {
		return s.errorf("cannot be read")
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	err = decoder.Decode(into)
	if err == nil {
		return nil
	}
	if m := yamlUnknown.FindStringSubmatch(err.Error()); m != nil {
		return s.errorf("unknown field %q", m[1])
	}
	if _, ok := errors.AsType[*yaml.TypeError](err); ok {
		return s.errorf("has a value of the wrong type")
	}
	if strings.Contains(err.Error(), "parse ") {
		return s.errorf(notProxy)
	}
	return s.errorf("%w", err)
}

// environment makes one of a block that has everything.
func (f *file) environment(b block) (Environment, error) {
	if b.fields.one("name").Value == "" {
		return Environment{}, f.at(b.line, "name").errorf("missing")
	}
	env, err := b.fields.read()
	if err != nil {
		return Environment{}, err
	}
	if env.Key, err = f.key(b); err != nil {
		return Environment{}, err
	}
	key, err := env.Key.Get()
	if err != nil {
		return Environment{}, err
	}
	if client.KeyEnvironment(key) == "preview" && env.PreviewBranch == "" {
		return Environment{}, f.at(b.line, "preview_branch").errorf("missing; a key of a preview environment needs the name of a branch")
	}
	if b.proxy != nil || b.tls != nil {
		env.HTTP = &config.HTTPClientConfig{EnableHTTP2: true}
		if b.proxy != nil {
			if err := b.proxy.Validate(); err != nil {
				return Environment{}, b.proxyAt.errorf("%w", err)
			}
			// user:password@host parses too, with the user for a scheme.
			if u := b.proxy.ProxyURL.URL; u != nil && *u != (url.URL{}) && (u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)) {
				return Environment{}, b.proxyAt.errorf(notProxy)
			}
			env.HTTP.ProxyConfig = *b.proxy
		}
		if b.tls != nil {
			env.HTTP.TLSConfig = *b.tls
			env.HTTP.TLSConfig.SetDirectory(filepath.Dir(f.path))
		}
		if _, err := env.Transport(); err != nil {
			at := b.tlsAt
			if b.tls == nil {
				at = b.proxyAt
			}
			return Environment{}, at.errorf("%w", err)
		}
	}
	return env, nil
}

func (f *file) key(b block) (Key, error) {
	var set []Setting
	for _, field := range []string{"secret_key_file", "secret_key_env", "secret_key"} {
		if s := b.fields.one(field); s.Value != "" {
			set = append(set, s)
		}
	}
	switch {
	case len(set) == 0:
		return Key{}, f.at(b.line, "secret_key_file").errorf("missing; want the name of a file, or secret_key_env or secret_key instead")
	case len(set) > 1:
		return Key{}, set[1].errorf("want one of secret_key_file, secret_key_env and secret_key")
	}
	s := set[0]
	switch {
	case strings.HasSuffix(s.Name, "_file"):
		return Key{File: config.JoinDir(filepath.Dir(f.path), s.Value), From: s.Name}, nil
	case strings.HasSuffix(s.Name, "_env"):
		value := f.getenv(s.Value)
		if value == "" && client.LooksLikeKey(s.Value) {
			return Key{}, s.errorf("this looks like a key itself; want the name of an environment variable")
		}
		return Key{Value: value, From: s.Name + " " + s.Value}, nil
	}
	return Key{Value: s.Value, From: s.Name}, nil
}
