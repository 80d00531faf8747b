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

// tableText makes the text of a table, the same as codec.MarshalPrettyJSON does, and keeps that of each value: a new name among 10,000
// costs no encoding of all the others. Values are known by their address, since they are replaced and never changed. It belongs to the
// table's goroutine.
type tableText[V any] struct {
	member string // of the JSON object that holds the values
	kept   map[string]valueText[V]
}

type valueText[V any] struct {
	value *V
	text  []byte
}

// encode gives the text of a table. whole is the table with these values, its object is without them.
func (t *tableText[V]) encode(values map[string]*V, with func(map[string]*V) any) ([]byte, error) {
	if len(values) == 0 || len(values) > keptTexts {
		t.kept = nil
		return codec.MarshalPrettyJSON(with(values))
	}
	frame, err := codec.MarshalPrettyJSON(with(map[string]*V{}))
	if err != nil {
		return nil, err
	}
	begin := fmt.Sprintf("\n\t%q:{\n\t\t", t.member)
	head, tail, ok := bytes.Cut(frame, []byte(begin+"\n\t}"))
	if !ok {
		return codec.MarshalPrettyJSON(with(values))
	}
	names := slices.Sorted(maps.Keys(values))
	size := len(frame)
	for _, name := range names {
		text, err := t.textOf(name, values[name])
		if err != nil {
			return nil, err
		}
		size += len(text) + 4
	}
	b := append(append(make([]byte, 0, size), head...), begin...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ",\n\t\t"...)
		}
		b = append(b, t.kept[name].text...)
	}
	if len(t.kept) > len(values) {
		maps.DeleteFunc(t.kept, func(name string, _ valueText[V]) bool { return values[name] == nil })
	}
	return append(append(b, "\n\t}"...), tail...), nil
}

// textOf is a value with its name, indented as a member of a member.
func (t *tableText[V]) textOf(name string, value *V) ([]byte, error) {
	if k, ok := t.kept[name]; ok && k.value == value {
		return k.text, nil
	}
	text, err := codec.MarshalPrettyJSON(map[string]*V{name: value})
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSuffix(bytes.TrimPrefix(text, []byte("{\n\t")), []byte("\n}"))
	text = bytes.ReplaceAll(text, []byte("\n"), []byte("\n\t"))
	if t.kept == nil {
		t.kept = make(map[string]valueText[V])
	}
	t.kept[name] = valueText[V]{value, text}
	return text, nil
}
