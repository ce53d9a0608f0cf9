package notation_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"waitpoint_exporter/collector/config/notation"
	"waitpoint_exporter/collector/index"
)

// FuzzDuration checks that a duration is more than zero and at most 10 years, or refused
// with the text quoted.
func FuzzDuration(f *testing.F) {
	for _, seed := range []string{
		"30s", "5m", "1h", "1d", "1w", "1y", "1h30m", "90m", "0", "0s", "1", "-1h", "1M", "1.5h",
		"", " 1h", "1h ", "10y", "3651d", "300y", "9999999999999y", "1d1d", "1ms",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := notation.Duration(text)
		if err != nil {
			if want := fmt.Sprintf("%q ", text); !strings.HasPrefix(err.Error(), want) || d != 0 {
				t.Errorf("%q: %s, with %s; want it to begin with %s", text, err, d, want)
			}
			return
		}
		if d <= 0 || d > 3650*24*time.Hour {
			t.Errorf("%q is read as %s", text, d)
		}
	})
}

// FuzzTagRules compares include, exclude and rewrite with a simple implementation of
// the README: expressions match whole tags, the first rewrite counts, a token that
// loses all its tags counts under none.
func FuzzTagRules(f *testing.F) {
	f.Add("", "", "", "team:payments\x00user:1")
	f.Add("team:.*|user:.*", "user:0.*", "(user|org):.*=$1:*", "team:payments\x00user:1\x00user:01\x00org:x\x00")
	f.Add("a|ab", "b", "(?i)A(.)=${1}$", "a\x00ab\x00abc\x00\n\x00a\nb")
	f.Add(".", ".+", "=", "x\x00=\x00==")
	f.Add(`\Qa`, `(?m)^a$`, `a*?=$0$0`, "a\nb\x00aa")
	f.Add("\xff", "[^a]", "\xff=\xff", "\xff\x00a")
	f.Add("", "", "a=\xff", "a")
	f.Fuzz(func(t *testing.T, include, exclude, rewrite, joined string) {
		rules := index.TagRules{}
		var err error
		if rules.Include, err = notation.Regexp(include); err != nil {
			refused(t, include, err)
			return
		}
		if rules.Exclude, err = notation.Regexp(exclude); err != nil {
			refused(t, exclude, err)
			return
		}
		if rewrite != "" {
			rule, err := notation.Rewrite(rewrite)
			i := strings.LastIndexByte(rewrite, '=')
			if err != nil {
				if rule.Match != nil && references(rewrite[i+1:], rule.Match) {
					t.Errorf("%q is refused: %v", rewrite, err)
				} else if rule.Match == nil && utf8.ValidString(rewrite) && i > 0 {
					refused(t, rewrite[:i], err)
				}
				return
			}
			if !references(rewrite[i+1:], rule.Match) {
				t.Errorf("%q is accepted", rewrite)
			}
			rules.Rewrite = []index.Rewrite{rule}
		}
		var raw []string
		if joined != "" {
			raw = strings.Split(joined, "\x00")
		}
		want, counts := []string{}, len(raw) == 0
		if counts {
			want = append(want, "")
		}
		for _, tag := range raw {
			if include != "" && !whole(t, include, tag) || exclude != "" && whole(t, exclude, tag) {
				continue
			}
			counts = true
			if i := strings.LastIndexByte(rewrite, '='); i > 0 && whole(t, rewrite[:i], tag) {
				tag = rules.Rewrite[0].Match.ReplaceAllString(tag, rewrite[i+1:])
			}
			if !slices.Contains(want, tag) {
				want = append(want, tag)
			}
		}
		slices.Sort(want)
		got, ok := rules.Map(raw)
		if ok != counts || ok && !slices.Equal(got, want) {
			t.Errorf("%q counts under %q, %t; want %q, %t", raw, got, ok, want, counts)
		}
		// The value of a label must be UTF-8.
		if utf8.ValidString(joined) && !utf8.ValidString(strings.Join(got, "")) {
			t.Errorf("%q counts under %q", raw, got)
		}
	})
}

// whole reports whether the longest match of the expression is the whole text. The
// rules use anchors instead.
func whole(t *testing.T, expr, text string) bool {
	t.Helper()
	re, err := regexp.Compile("(?s:" + expr + ")")
	if err != nil {
		t.Fatalf("%q is taken for an expression: %v", expr, err)
	}
	re.Longest()
	at := re.FindStringIndex(text)
	return at != nil && at[0] == 0 && at[1] == len(text)
}

// references reports whether each dollar sign of a replacement is for an existing group
// or for itself, and no group has the notation of other tools. It replaces each group
// by a text and counts the texts; the code under test compares names instead.
func references(replacement string, expr *regexp.Regexp) bool {
	if regexp.MustCompile(`\\[0-9]`).MatchString(replacement) {
		return false
	}
	const group = "\x00"
	// The text of each group is one zero byte.
	at := make([]int, 2*(expr.NumSubexp()+1))
	for i := range at {
		at[i] = i % 2
	}
	got := string(expr.ExpandString(nil, replacement, group, at))
	replacement = strings.ReplaceAll(replacement, "$$", "")
	if strings.Contains(replacement, "${") &&
		regexp.MustCompile(`\$\{(?:[^\pL\p{Nd}_]|[\pL\p{Nd}_]+[^\pL\p{Nd}_}]|[\pL\p{Nd}_]*$)`).MatchString(replacement) {
		return false
	}
	want := len(regexp.MustCompile(`\$(?:\{[\pL\p{Nd}_]+\}|[\pL\p{Nd}_]+)`).FindAllString(replacement, -1))
	return strings.Count(got, group)-strings.Count(replacement, group) == want
}

// refused checks that a text is refused only if it is no expression by itself or none
// inside a group.
func refused(t *testing.T, expr string, err error) {
	t.Helper()
	_, alone := regexp.Compile(expr)
	_, group := regexp.Compile("(?s:" + expr + ")")
	if alone == nil && group == nil {
		t.Errorf("%q is refused: %v", expr, err)
	}
}
