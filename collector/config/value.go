package config

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"waitpoint_exporter/collector/config/notation"
	"waitpoint_exporter/collector/config/yamlfile"
	"waitpoint_exporter/collector/index"

	"github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
)

// A value reads a setting from a flag's text or a file's node and stores it. Its errors
// do not name the flag or the field.
type value struct {
	set    func(text string) error
	clear  func()                 // Empties a list. Nil for a single value.
	decode func(*yaml.Node) error // Reads anything but a text or a list of texts.
	toggle bool
	groups bool // Whether ${name} after the last = is a group of an expression.
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

// list is a setting with any number of values.
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

// addThreshold inserts a duration into a list in ascending order.
func addThreshold(list []Threshold, text string) ([]Threshold, error) {
	d, err := notation.Duration(text)
	if err != nil {
		return nil, err
	}
	i, found := slices.BinarySearchFunc(list, d, func(t Threshold, d time.Duration) int {
		return cmp.Compare(t.Duration, d)
	})
	if found {
		return nil, fmt.Errorf("%q is the same duration as %q: want one of them", text, list[i].Text)
	}
	return slices.Insert(list, i, Threshold{text, d}), nil
}

func rewrites(target *[]index.Rewrite) value {
	v := list(target, each(notation.Rewrite))
	v.groups = true
	return v
}

// UnmarshalYAML implements yaml.Unmarshaler. It replaces the values of a list.
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
	text, err := yamlfile.Text(node, v.groups)
	if err == nil {
		err = v.set(text)
	}
	return err
}
