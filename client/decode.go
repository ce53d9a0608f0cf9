// The decoder reads an answer as a stream of JSON into tokens that share none of its
// bytes. It decodes only the fields of a Token, whose names are case-sensitive:
// callback URLs, idempotency keys and outputs are skipped. The data that it keeps is
// bounded. Its errors name a field and a position but do not quote the answer.

package client

import (
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds on the data kept from an answer, well above the service's own (4.5.12).
const (
	maxTokens = 1000     // Per page; the service's maximum is 100.
	maxTags   = 100      // Per token; the service's maximum is 10.
	maxTag    = 16 << 10 // Bytes; the service's maximum is 128 characters.
	maxID     = 1 << 10  // Bytes; the service's have 35.
	maxStatus = 64       // Bytes; the service's have 9.
	maxCursor = 1 << 10  // Bytes; the service's have 25.
	maxTime   = 64       // Bytes; the service's have 24.
	maxDepth  = 10000    // The limit of jsontext.
)

var (
	errTooMuch   = errors.New("more than the service gives")
	errNotJSON   = errors.New("not JSON")
	errEarlyEnd  = fmt.Errorf("%w: it ends early", errNotJSON)
	errNoData    = errors.New("the answer has no data")
	errOtherKind = errors.New("a value of another kind")
)

// wirePage is the content of an answer.
type wirePage struct {
	Page

	paginated bool // Whether the answer has a pagination.
}

// decoder reads one answer.
type decoder struct {
	*workspace

	scratch []byte // For strings with escapes.
}

// decodePage reads an answer to its last byte. If a name occurs twice, the last one
// counts.
func (w *workspace) decodePage(r io.Reader) (wirePage, error) {
	w.json.Reset(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	d := decoder{workspace: w}
	page, err := d.page()
	switch {
	case errors.Is(err, errOtherKind):
		return wirePage{}, errors.New("the answer is not an object with data and pagination")
	case err != nil:
		return wirePage{}, d.explain(err)
	}
	if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
		return wirePage{}, fmt.Errorf("%w: something follows the answer's end", errNotJSON)
	}
	return page, nil
}

// explain replaces errors of jsontext, which quote the answer.
func (d *decoder) explain(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w, after %d bytes", errEarlyEnd, d.json.InputOffset()+int64(len(d.json.UnreadBuffer())))
	case !errors.As(err, &syntax):
		return err
	case d.json.StackDepth() >= maxDepth:
		return fmt.Errorf("%w: nested too deep", errNotJSON)
	}
	return fmt.Errorf("%w: at byte %d", errNotJSON, syntax.ByteOffset)
}

func (d *decoder) page() (wirePage, error) {
	var page wirePage
	err := d.object(func(name []byte) (err error) {
		switch string(name) {
		case "data":
			page.Tokens, err = d.tokens()
			return inField("data", err)
		case "pagination":
			return inField("pagination", d.pagination(&page))
		}
		return d.json.SkipValue()
	})
	if err == nil && page.Tokens == nil {
		err = errNoData
	}
	return page, err
}

// tokens reads the list of tokens. It returns nil for null.
func (d *decoder) tokens() ([]Token, error) {
	if d.null() {
		return nil, nil
	}
	tokens := make([]Token, 0, maxPageSize)
	err := d.between('[', ']', func() error {
		if len(tokens) == maxTokens {
			return fmt.Errorf("%w: over %d tokens", errTooMuch, maxTokens)
		}
		tokens = append(tokens, Token{})
		err := d.token(&tokens[len(tokens)-1])
		if err != nil && !errors.Is(err, errOtherKind) {
			err = fmt.Errorf("token %d of the page: %w", len(tokens), err)
		}
		return err
	})
	return tokens, err
}

func (d *decoder) token(t *Token) error {
	err := d.object(func(name []byte) (err error) {
		switch string(name) {
		case "id":
			t.ID, err = d.text("id", maxID)
		case "status":
			var b []byte
			b, err = d.bounded("status", maxStatus)
			t.Status = Status(d.known.get(b))
		case "tags":
			t.Tags, err = d.tagList()
			err = inField("tags", err)
		case "createdAt":
			t.CreatedAt, err = d.time("createdAt")
		case "timeoutAt":
			t.TimeoutAt, err = d.time("timeoutAt")
		case "completedAt":
			t.CompletedAt, err = d.time("completedAt")
		default:
			err = d.json.SkipValue()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case t.ID == "":
		return errors.New("no id")
	case t.Status == "":
		return errors.New("no status")
	case t.CreatedAt.IsZero():
		return errors.New("no createdAt")
	}
	return nil
}

// pagination reads the cursors. A null object or cursor is treated as absent.
func (d *decoder) pagination(page *wirePage) error {
	page.Next, page.Previous = "", ""
	if page.paginated = !d.null(); !page.paginated {
		return nil
	}
	return d.object(func(name []byte) (err error) {
		switch string(name) {
		case "next":
			page.Next, err = d.text("next", maxCursor)
		case "previous":
			page.Previous, err = d.text("previous", maxCursor)
		default:
			err = d.json.SkipValue()
		}
		return err
	})
}

func (d *decoder) tagList() ([]string, error) {
	if d.null() {
		return nil, nil
	}
	var few [16]string
	list := few[:0]
	err := d.between('[', ']', func() error {
		if len(list) == maxTags {
			return fmt.Errorf("%w: over %d tags", errTooMuch, maxTags)
		}
		b, err := d.str()
		if err == nil && b == nil {
			return errOtherKind
		}
		if err == nil && len(b) > maxTag {
			return fmt.Errorf("%w: tag %d is longer than %d bytes", errTooMuch, len(list)+1, maxTag)
		}
		list = append(list, d.known.get(b))
		return err
	})
	return append([]string(nil), list...), err
}

// inField returns an error with the field's name if a value is of the wrong kind.
func inField(name string, err error) error {
	if errors.Is(err, errOtherKind) {
		return fmt.Errorf("%s is unreadable", name)
	}
	return err
}

// bounded reads a string of at most the given number of bytes, which is valid until
// the next call. It returns nil for null.
func (d *decoder) bounded(name string, most int) ([]byte, error) {
	b, err := d.str()
	if err == nil && len(b) > most {
		return nil, fmt.Errorf("%w: %s is longer than %d bytes", errTooMuch, name, most)
	}
	return b, inField(name, err)
}

func (d *decoder) text(name string, most int) (string, error) {
	b, err := d.bounded(name, most)
	return string(b), err
}

// time reads a time. It returns the zero time for null.
func (d *decoder) time(name string) (time.Time, error) {
	b, err := d.bounded(name, maxTime)
	if err != nil || b == nil {
		return time.Time{}, err
	}
	var t time.Time
	if t.UnmarshalText(b) != nil {
		return time.Time{}, inField(name, errOtherKind)
	}
	return t.UTC(), nil
}

// null reads a null if it comes next, and reports whether it did.
func (d *decoder) null() bool {
	return d.json.PeekKind() == 'n' && d.json.SkipValue() == nil
}

// object reads an object. It calls value with each name, to read the value. The name
// is valid until the next read.
func (d *decoder) object(value func(name []byte) error) error {
	return d.between('{', '}', func() error {
		name, err := d.str()
		if err != nil {
			return err
		}
		return value(name)
	})
}

// between reads an object or an array with these brackets, or skips a value of another
// kind. It calls element to read each element.
func (d *decoder) between(opening, closing jsontext.Kind, element func() error) error {
	if d.json.PeekKind() != opening {
		return d.other()
	}
	_, err := d.json.ReadToken()
	for err == nil && d.json.PeekKind() != closing {
		err = element()
	}
	if err == nil {
		_, err = d.json.ReadToken()
	}
	return err
}

// other skips a value of the wrong kind and returns the error for it.
func (d *decoder) other() error {
	if err := d.json.SkipValue(); err != nil {
		return err
	}
	return errOtherKind
}

// str reads a string, which is valid until the next call. It returns nil for null.
func (d *decoder) str() ([]byte, error) {
	if kind := d.json.PeekKind(); kind != '"' && kind != 'n' {
		return nil, d.other()
	}
	raw, err := d.json.ReadValue()
	if err != nil || raw[0] == 'n' {
		return nil, err
	}
	inner := raw[1 : len(raw)-1]
	for _, c := range inner {
		if c == '\\' || c >= utf8.RuneSelf {
			// The only possible error is invalid UTF-8, which is replaced.
			d.scratch, _ = jsontext.AppendUnquote(d.scratch[:0], raw)
			return d.scratch, nil
		}
	}
	return inner, nil
}

// interner remembers strings, so that tokens with the same tags share them.
type interner [256]string

func (n *interner) get(b []byte) string {
	if len(b) > 64 {
		return string(b)
	}
	h := uint32(2166136261) // FNV-1a.
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	slot := &n[(h^h>>16)%uint32(len(n))]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}
