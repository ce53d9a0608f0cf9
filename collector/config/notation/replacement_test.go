package notation_test

import (
	"testing"

	"waitpoint_exporter/collector/config/notation"
)

// TestRewrite checks which replacements are valid for an expression.
func TestRewrite(t *testing.T) {
	for _, tc := range []struct{ rule, tag, want string }{
		{"team:(.*)=${1}_team", "team:a", "a_team"},
		{"team:(.*)=$1:x", "team:a", "a:x"},
		{"team:(?P<name>.*)=$name", "team:a", "a"},
		{"team:.*=$0!", "team:a", "team:a!"},
		{"price:(.*)=$$$1", "price:5", "$5"},
		{"price:.*=5$", "price:5", "5$"},
		{`path:.*=\d`, "path:x", `\d`},
		{"team:.*=a&b <1> $$&", "team:a", "a&b <1> $&"},
		{"user:.*=", "user:1", ""},
	} {
		rule, err := notation.Rewrite(tc.rule)
		if err != nil {
			t.Errorf("%s: %v", tc.rule, err)
		} else if got := rule.Match.ReplaceAllString(tc.tag, rule.Replacement); got != tc.want {
			t.Errorf("%s: %q becomes %q, want %q", tc.rule, tc.tag, got, tc.want)
		}
	}
	for rule, want := range map[string]string{
		"team:(.*)=$1_team": `"$1_team": $1_team is the group "1_team", which the expression ` +
			`does not have: want ${1}_team`,
		"team:(.*)=$1st":      `"$1st": $1st is the group "1st", which the expression does not have: want ${1}st`,
		"(?P<team>.*)=$teamA": `"$teamA": $teamA is the group "teamA", which the expression does not have: want ${team}A`,
		"team:(.*)=$2":        `"$2": $2 is a group that the expression does not have: it has $0, the whole tag, ${1}`,
		"team:(.*)=${01}": `"${01}": ${01} is a group that the expression does not have: it ` +
			`has $0, the whole tag, ${1}`,
		"team:(?P<t>.*)=${u}": `"${u}": ${u} is a group that the expression does not have: it has $0, the whole tag, ${t}`,
		`team:(.*)=\g<1>x`:    `"\\g<1>x": a group is written with a dollar sign: want ${1} in place of \g<1>`,
		`team:(?P<t>.*)=$<t>`: `"$<t>": a group is written with a dollar sign: want ${t} in place of $<t>`,
		`team:.*=a$&`:         `"a$&": a group is written with a dollar sign: want ${0} in place of $&`,
		`team:(.*)=\1`:        `"\\1": a group is written with a dollar sign: want ${1} in place of \1`,
		"team:(.*)=${1":       `"${1": the name of a group is not closed: want ${1}, or $$ for the sign itself`,
		"team:(.*)=$99999999999": `"$99999999999": $99999999999 is a group that the expression ` +
			`does not have: it has $0, the whole tag, ${1}`,
	} {
		if _, err := notation.Rewrite(rule); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", rule, err, want)
		}
	}
}
