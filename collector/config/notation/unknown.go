package notation

import (
	"errors"
	"fmt"
	"strings"
)

// Unknown says that there is no such name, and which of those there are is near: one
// that differs in few letters, goes on, or is the same in another section. Names stand behind the dashes.
func Unknown(what, dashes, name string, known []string) error {
	best, least := "", len(name)/4+2
	for _, k := range known {
		d := distance(name, k)
		if strings.HasPrefix(k, name) || k[strings.LastIndexByte(k, '.')+1:] == name[strings.LastIndexByte(name, '.')+1:] {
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

// distance is how many bytes are to be put in, taken out or changed to make b of a.
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
