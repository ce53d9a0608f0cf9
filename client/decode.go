// The decoder reads an answer in one pass over its bytes, into tokens that share
// none of them. It takes the JSON that encoding/json takes (a fuzz test holds
// them side by side), but names exactly as they are written, and only the
// fields that a Token has: callback URLs, idempotency keys and outputs are
// skipped in place. What it keeps is bounded, and its errors name a field and a
// place, and quote nothing.

package client

import (
	"errors"
	"fmt"
	"time"
)

// Bounds on what is kept of an answer. Each is well above what the service gives
// (4.5.12), so that only something else than the service passes it.
const (
	maxTokens = 1000     // Of a page; the service gives 100 at most.
	maxTags   = 100      // Of a token; the service takes 10.
	maxTag    = 16 << 10 // Bytes; the service takes 128 characters.
	maxID     = 1 << 10  // Bytes; the service's have 35.
	maxStatus = 64       // Bytes; the service's have 9.
	maxCursor = 1 << 10  // Bytes; the service's have 25.
)

var (
	errTooMuch  = errors.New("more than the service gives")
	errNotJSON  = errors.New("not JSON")
	errEarlyEnd = fmt.Errorf("%w: it ends early", errNotJSON)
	errTrailing = errors.New("not JSON: something follows the answer's end")
	errNoData   = errors.New("the answer has no data")
	errNotPage  = errors.New("the answer is not an object with data and pagination")
)

// wirePage is an answer as the service means it.
type wirePage struct {
	tokens []Token
	// False if the answer has no pagination at all.
	paginated      bool
	next, previous string
}

// decodePage reads a whole answer. Of a name given twice the last one counts.
func decodePage(b []byte, tags *interner) (wirePage, error) {
	var (
		page wirePage
		s    = scanner{b: b}
	)
	data := false
	err := s.object(func(name []byte) error {
		switch string(name) {
		case "data":
			var err error
			page.tokens, data, err = s.tokens(tags)
			return err
		case "pagination":
			return s.pagination(&page)
		}
		return s.skip()
	})
	switch {
	case errors.Is(err, errOtherKind):
		return wirePage{}, errNotPage
	case err != nil:
		return wirePage{}, err
	case !s.end():
		return wirePage{}, errTrailing
	case !data:
		return wirePage{}, errNoData
	}
	return page, nil
}

// tokens reads the list, and reports whether there is one.
func (s *scanner) tokens(tags *interner) ([]Token, bool, error) {
	if s.null() {
		return nil, false, nil
	}
	tokens := make([]Token, 0, maxPageSize)
	err := s.array(func() error {
		if len(tokens) == maxTokens {
			return fmt.Errorf("%w: over %d tokens", errTooMuch, maxTokens)
		}
		t, err := s.token(tags)
		if err != nil {
			return fmt.Errorf("token %d of the page: %w", len(tokens)+1, err)
		}
		tokens = append(tokens, t)
		return nil
	})
	return tokens, err == nil, inField("data", err)
}

func (s *scanner) token(tags *interner) (Token, error) {
	var t Token
	err := s.object(func(name []byte) (err error) {
		switch string(name) {
		case "id":
			t.ID, err = s.text("id", maxID)
			return err
		case "status":
			t.Status, err = s.status()
			return err
		case "tags":
			t.Tags, err = s.tags(tags)
			return inField("tags", err)
		case "createdAt":
			t.CreatedAt, err = s.time()
			return inField("createdAt", err)
		case "timeoutAt":
			t.TimeoutAt, err = s.time()
			return inField("timeoutAt", err)
		case "completedAt":
			t.CompletedAt, err = s.time()
			return inField("completedAt", err)
		}
		return s.skip()
	})
	switch {
	case err != nil:
		return Token{}, err
	case t.ID == "":
		return Token{}, errors.New("no id")
	case t.Status == "":
		return Token{}, errors.New("no status")
	case t.CreatedAt.IsZero():
		return Token{}, errors.New("no createdAt")
	}
	return t, nil
}

// pagination takes null for an absent one, of the object and of its cursors.
func (s *scanner) pagination(page *wirePage) error {
	page.paginated, page.next, page.previous = false, "", ""
	if s.null() {
		return nil
	}
	page.paginated = true
	return inField("pagination", s.object(func(name []byte) (err error) {
		switch string(name) {
		case "next":
			page.next, err = s.text("next", maxCursor)
		case "previous":
			page.previous, err = s.text("previous", maxCursor)
		default:
			err = s.skip()
		}
		return err
	}))
}

// inField says which field has a value of a kind it should not have.
func inField(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errOtherKind):
		return fmt.Errorf("%s is unreadable", name)
	}
	return err
}

// bounded reads a string of at most so many bytes, which are good only until
// the next call; null is an empty one.
func (s *scanner) bounded(name string, most int) ([]byte, error) {
	if s.null() {
		return nil, nil
	}
	b, err := s.str()
	switch {
	case err != nil:
		return nil, inField(name, err)
	case len(b) > most:
		return nil, fmt.Errorf("%w: %s is longer than %d bytes", errTooMuch, name, most)
	}
	return b, nil
}

func (s *scanner) text(name string, most int) (string, error) {
	b, err := s.bounded(name, most)
	return string(b), err
}

func (s *scanner) status() (Status, error) {
	b, err := s.bounded("status", maxStatus)
	// The known ones take no memory.
	switch string(b) {
	case string(StatusWaiting):
		return StatusWaiting, err
	case string(StatusCompleted):
		return StatusCompleted, err
	case string(StatusTimedOut):
		return StatusTimedOut, err
	}
	return Status(b), err
}

// time reads a time; null is a zero one.
func (s *scanner) time() (time.Time, error) {
	if s.null() {
		return time.Time{}, nil
	}
	b, err := s.str()
	if err != nil {
		return time.Time{}, err
	}
	var t time.Time
	if t.UnmarshalText(b) != nil {
		return time.Time{}, errOtherKind
	}
	return t.UTC(), nil
}

func (s *scanner) tags(known *interner) ([]string, error) {
	if s.null() {
		return nil, nil
	}
	var (
		few  [16]string
		list = few[:0]
	)
	if err := s.array(func() error {
		if len(list) == maxTags {
			return fmt.Errorf("%w: over %d tags", errTooMuch, maxTags)
		}
		b, err := s.str()
		if err != nil {
			return err
		}
		if len(b) > maxTag {
			return fmt.Errorf("%w: tag %d is longer than %d bytes", errTooMuch, len(list)+1, maxTag)
		}
		list = append(list, known.get(b))
		return nil
	}); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, nil
	}
	return append(make([]string, 0, len(list)), list...), nil
}

// interner remembers some strings, so that tags that many tokens have are one
// string in memory.
type interner struct {
	slots [256]string
}

func (n *interner) get(b []byte) string {
	if len(b) > 64 {
		return string(b)
	}
	h := uint32(2166136261) // FNV-1a.
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	slot := &n.slots[(h^h>>16)%uint32(len(n.slots))]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}
