package refresh

import (
	"waitpoint_exporter/client"

	"github.com/tidwall/btree"
)

// bookmarks remember, from every page that was ever listed without a filter on
// status, the cursor behind it and the id of its last token. They let a later
// request open the list right above any token, at the price of a first page.
//
// Ids are compared, since the list is in their order; cursors are only ever
// those the service handed out.
type bookmarks struct {
	byID btree.Map[string, string]
	// Roughly the bytes that they take.
	size int
}

func (b *bookmarks) set(id, cursor string) {
	b.remove(id)
	b.byID.Set(id, cursor)
	b.size += markSize(id, cursor)
}

func (b *bookmarks) remove(id string) {
	if cursor, ok := b.byID.Delete(id); ok {
		b.size -= markSize(id, cursor)
	}
}

func markSize(id, cursor string) int { return 64 + len(id) + len(cursor) }

// put takes in a page that began right below the id above, or at the top of the
// list if that is empty. The page's own bookmark replaces those inside it.
func (b *bookmarks) put(above string, page client.Page) {
	if len(page.Tokens) == 0 {
		return
	}
	last := page.Tokens[len(page.Tokens)-1].ID
	var inside []string
	b.byID.Ascend(last, func(id, _ string) bool {
		if above != "" && id >= above {
			return false
		}
		inside = append(inside, id)
		return true
	})
	for _, id := range inside {
		b.remove(id)
	}
	if page.Next != "" {
		b.set(last, page.Next)
	}
}

// above returns the cursor from which the next page shows the token soonest,
// and the id it stands for; false if the token is above every bookmark.
func (b *bookmarks) above(id string) (mark, cursor string, ok bool) {
	b.byID.Ascend(id, func(k, v string) bool {
		if k == id {
			return true
		}
		mark, cursor, ok = k, v, true
		return false
	})
	return mark, cursor, ok
}

// trim forgets the bookmarks at and below the id: the window has left them.
func (b *bookmarks) trim(id string) {
	var below []string
	b.byID.Descend(id, func(k, _ string) bool {
		below = append(below, k)
		return true
	})
	for _, k := range below {
		b.remove(k)
	}
}
