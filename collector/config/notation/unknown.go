package notation

import (
	"errors"
	"fmt"
	"strings"
)

// Unknown returns the error for an unknown name. It suggests a known name that differs
// in few letters, begins with the unknown one, or is the same in another section. Dashes
// are put before the suggestion.
func Unknown(what, dashes, name string, known []string) error {
	best, least := "", len(name)/4+2
	for _, k := range known {
		d := distance(name, k)
		if strings.HasPrefix(k, name) ||
			k[strings.LastIndexByte(k, '.')+1:] == name[strings.LastIndexByte(name, '.')+1:] {
			d = min(d, 1)
		}
		if d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return errors.New("unknown " + what)
	}
	return fmt.Errorf("unknown %s; did you mean %s%s?", what, dashes, best)
}

// distance returns the Levenshtein distance of two names, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
