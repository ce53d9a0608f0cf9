package yamlfile_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"waitpoint_exporter/collector/config/yamlfile"

	"go.yaml.in/yaml/v3"
)

// show returns a document as text, with the line of each field.
func show(node *yaml.Node) (string, error) {
	switch node.Kind { //nolint:exhaustive // Other nodes are texts.
	case yaml.MappingNode:
		var out []string
		err := yamlfile.Fields(node, func(name string, line int, value *yaml.Node) error {
			text := "none"
			var err error
			if value != nil {
				text, err = show(value)
			}
			out = append(out, fmt.Sprintf("%s@%d=%s", name, line, text))
			return err
		})
		return "{" + strings.Join(out, " ") + "}", err
	case yaml.SequenceNode:
		var out []string
		err := yamlfile.Items(node, func(item *yaml.Node) error {
			text, err := show(item)
			out = append(out, text)
			return err
		})
		return "[" + strings.Join(out, " ") + "]", err
	default:
		return node.Value, nil
	}
}

// TestParse checks the content that is read, and the errors with line and field.
func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1\nb: [2, 3]\nc:\n":                          "{a@1=1 b@2=[2 3] c@3=none}",
		"a: &a {x: 1}\nb: *a\nc: [*a]\n":                 "{a@1={x@1=1} b@2={x@1=1} c@3=[{x@1=1}]}",
		"a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n":     "{a@1={x@1=1 y@1=2} b@2={x@1=1 y@4=3}}",
		"a: {<<: [{x: 1}, {x: 2, y: 2}]}\n":              "{a@1={x@1=1 y@1=2}}",
		"a: &a {<<: &b {x: 1}}\nc: {<<: [*a, {z: 1}]}\n": "{a@1={x@1=1} c@2={x@1=1 z@2=1}}",
		"\"<<\": 1\n":            "{<<@1=1}",
		"a: 1\na: 2\n":           "2: a: is already set at line 1",
		"a: [1\n":                "1: did not find expected ',' or ']'",
		"a: &a {<<: *a}\n":       "1: <<: anchor 'a' value contains itself",
		"a: {<<: 1}\n":           "1: <<: map merge requires map or sequence of maps as the value",
		"a: {<<: [{x: 1}, 2]}\n": "1: <<: map merge requires map or sequence of maps as the value",
		"a: 1\n---\nb: 1\n":      "more than one document: want one",
		"":                       "nothing",
	} {
		got := "nothing"
		node, err := yamlfile.Parse([]byte(text))
		if err == nil && node != nil {
			got, err = show(node)
		}
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", text, got, want)
		}
	}
}

// TestVariables checks that a value that is a variable is refused, and no other that has
// the same characters in it.
func TestVariables(t *testing.T) {
	for value, want := range map[string]string{
		"$TEAM": "the variable", "$(TEAM)": "the variable", "%TEAM%": "the variable", "{{ .Values.team }}": "the variable", "${{ env.TEAM }}": "the variable",
		"${TEAM}": "${TEAM}", "${team.name}": "${team.name}", "a ${TEAM:-b}": "${TEAM}",
		// Expressions, replacements, passwords and tags.
		"team:.*$": "", "^a$": "", "$": "", "$1": "", "${1}": "", "${1}_team": "", "$$": "", "$ecret": "", "hunter2$": "",
		"a$TEAM": "", "50%": "", "%": "", "100%safe%": "", "a{2}": "", "{{": "", "$()": "", "(a|b)$": "", "user:{id}": "",
	} {
		node, err := yamlfile.Parse([]byte(strconv.Quote(value)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := yamlfile.Text(node, false)
		if want == "" && (err != nil || text != value) ||
			want != "" && (err == nil || !strings.HasPrefix(err.Error(), want+" is not replaced")) {
			t.Errorf("%s: %q, %v; want an error with %q", value, text, err, want)
		}
	}
}
