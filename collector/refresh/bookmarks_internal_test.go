package refresh

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"waitpoint_exporter/client"
)

// TestBookmarksSize holds that the bytes counted are those of the bookmarks that
// there are, whatever was put in, replaced and trimmed before.
func TestBookmarksSize(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var b bookmarks
	id := func(n int) string { return fmt.Sprintf("waitpoint_%03d", n) }
	for range 2000 {
		last := rng.IntN(900)
		above := id(last + 1 + rng.IntN(100))
		page := client.Page{Tokens: []client.Token{{ID: id(last)}}}
		if rng.IntN(10) > 0 {
			page.Next = fmt.Sprintf("%0*d", 1+rng.IntN(9), last)
		}
		if b.put(above, page); rng.IntN(50) == 0 {
			b.trim(id(rng.IntN(500)))
		}
		want := 0
		b.byID.Scan(func(id, cursor string) bool {
			want += markSize(id, cursor)
			return true
		})
		if b.size != want {
			t.Fatalf("%d bytes are counted for bookmarks of %d", b.size, want)
		}
	}
	if b.byID.Len() < 10 {
		t.Errorf("%d bookmarks are left", b.byID.Len())
	}
	b.trim(id(999))
	if b.size != 0 {
		t.Errorf("%d bytes are counted for no bookmark", b.size)
	}
}
