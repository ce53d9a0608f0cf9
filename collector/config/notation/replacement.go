package notation

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// reference matches groups in a replacement as regexp.Expand reads them: ${name} or
// $name, with the longest possible name; also an open brace, and the notations of other
// tools, \1, \g<1>, $<1> and $&. $$ is a dollar sign.
var reference = regexp.MustCompile(
	`\$\$|\$\{([\pL\p{Nd}_]+)\}|\$([\pL\p{Nd}_]+)|\$\{|\\(\d)|(?:\\[gk]|\$)<(\w+)>|\$&`)

// checkReplacement returns an error if the expression does not have a group that the
// replacement names: Expand would replace it by nothing.
func checkReplacement(replacement string, expr *regexp.Regexp) error {
	for _, m := range reference.FindAllStringSubmatch(replacement, -1) {
		found, name, other := m[0], m[1]+m[2], m[3]+m[4]
		if found == "$&" {
			other = "0"
		}
		switch {
		case found == "$$", name != "" && hasGroup(expr, name):
			continue
		case other != "":
			return fmt.Errorf("%q: a group is written with a dollar sign: want ${%s} in place of %s",
				replacement, other, found)
		case name == "":
			return fmt.Errorf("%q: the name of a group is not closed: want ${1}, or $$ for the sign itself",
				replacement)
		}
		for i := range m[2] {
			if group := m[2][:i]; hasGroup(expr, group) {
				return fmt.Errorf("%q: %s is the group %q, which the expression does not have: want ${%s}%s",
					replacement, found, name, group, m[2][i:])
			}
		}
		return fmt.Errorf("%q: %s is a group that the expression does not have: it has %s",
			replacement, found, groups(expr))
	}
	return nil
}

func hasGroup(expr *regexp.Regexp, name string) bool {
	if n, err := strconv.Atoi(name); err == nil && strconv.Itoa(n) == name {
		return n <= expr.NumSubexp()
	}
	return expr.SubexpIndex(name) >= 0
}

// groups lists the groups of an expression.
func groups(expr *regexp.Regexp) string {
	names := []string{"$0, the whole tag"}
	for i, name := range expr.SubexpNames()[1:] {
		if name == "" {
			name = strconv.Itoa(i + 1)
		}
		names = append(names, "${"+name+"}")
	}
	return strings.Join(names, ", ")
}
