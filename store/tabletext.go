package store

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/apogee-mq/apogee/codec"
)

// keptTexts bounds the names whose text is kept; a table of more is encoded anew for each write.
const keptTexts = 32_768

// tableText makes the text of a table, the same as codec.MarshalPrettyJSON does, and keeps names, values and their texts in the order of
// the names: a new name among 10,000 costs no look at all the others, only a copy of their texts. It belongs to the table's goroutine.
type tableText[V any] struct {
	member string // of the JSON object that holds the values
	names  []string
	values []*V
	texts  [][]byte // nil for one that is not made yet
}

// change takes values over; nil is a deletion.
func (t *tableText[V]) change(values map[string]*V) {
	if len(t.names) == 0 {
		t.names = slices.AppendSeq(make([]string, 0, len(values)), maps.Keys(values))
		t.names = slices.DeleteFunc(t.names, func(name string) bool { return values[name] == nil })
		slices.Sort(t.names)
		t.values, t.texts = make([]*V, len(t.names)), make([][]byte, len(t.names))
		for i, name := range t.names {
			t.values[i] = values[name]
		}
		return
	}
	for name, value := range values {
		at, found := slices.BinarySearch(t.names, name)
		switch {
		case value == nil && !found:
		case value == nil:
			t.names, t.values, t.texts = slices.Delete(t.names, at, at+1), slices.Delete(t.values, at, at+1), slices.Delete(t.texts, at, at+1)
		case !found:
			t.names, t.values, t.texts = slices.Insert(t.names, at, name), slices.Insert(t.values, at, value), slices.Insert(t.texts, at, nil)
		case t.values[at] != value:
			t.values[at], t.texts[at] = value, nil
		}
	}
}

// reset forgets all values.
func (t *tableText[V]) reset() { t.names, t.values, t.texts = nil, nil, nil }

// encode gives the text of the table. with is the table with values, its object is without them.
func (t *tableText[V]) encode(with func(map[string]*V) any) ([]byte, error) {
	frame, err := codec.MarshalPrettyJSON(with(map[string]*V{}))
	if err != nil {
		return nil, err
	}
	begin := fmt.Sprintf("\n\t%q:{\n\t\t", t.member)
	head, tail, ok := bytes.Cut(frame, []byte(begin+"\n\t}"))
	if !ok || len(t.names) == 0 || len(t.names) > keptTexts {
		clear(t.texts)
		return codec.MarshalPrettyJSON(with(t.all()))
	}
	size := len(frame)
	for i, text := range t.texts {
		if text == nil {
			if text, err = t.textOf(t.names[i], t.values[i]); err != nil {
				return nil, err
			}
			t.texts[i] = text
		}
		size += len(text) + 4
	}
	b := append(append(make([]byte, 0, size), head...), begin...)
	for i, text := range t.texts {
		if i > 0 {
			b = append(b, ",\n\t\t"...)
		}
		b = append(b, text...)
	}
	return append(append(b, "\n\t}"...), tail...), nil
}

func (t *tableText[V]) all() map[string]*V {
	values := make(map[string]*V, len(t.names))
	for i, name := range t.names {
		values[name] = t.values[i]
	}
	return values
}

// textOf is a value with its name, indented as a member of a member.
func (t *tableText[V]) textOf(name string, value *V) ([]byte, error) {
	text, err := codec.MarshalPrettyJSON(map[string]*V{name: value})
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSuffix(bytes.TrimPrefix(text, []byte("{\n\t")), []byte("\n}"))
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\n\t")), nil
}
