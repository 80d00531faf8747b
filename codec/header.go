package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// ErrHeader means that a custom header lacks a field without which the request means nothing, or that a number in it is none.
var ErrHeader = errors.New("codec: bad header")

// headerDefaults is a header that has defaults other than zero.
type headerDefaults interface{ setDefaults() }

// taggedField is one field of a header struct.
type taggedField struct {
	key      string
	position int
	kind     reflect.Kind // of the value, behind the pointer if optional
	optional bool
	lenient  bool // a number that is none keeps the default, as Java's fields of primitive types do
}

// plans holds the fields of each header type seen, by reflect.Type; types are few and made by this program.
var plans sync.Map

// planOf returns the fields of a header struct that have a `field` tag.
func planOf(t reflect.Type) []taggedField {
	if known, ok := plans.Load(t); ok {
		return known.([]taggedField)
	}
	var plan []taggedField
	for i := range t.NumField() {
		key, ok := t.Field(i).Tag.Lookup("field")
		if !ok {
			continue
		}
		ft := t.Field(i).Type
		key, mode, _ := strings.Cut(key, ",")
		f := taggedField{key: key, position: i, kind: ft.Kind(), lenient: mode == "lenient"}
		if f.kind == reflect.Pointer {
			f.optional, f.lenient, f.kind = true, true, ft.Elem().Kind()
		}
		plan = append(plan, f)
	}
	plans.Store(t, plan)
	return plan
}

// structOf returns the struct behind a header pointer.
func structOf(h any) (reflect.Value, error) {
	v := reflect.ValueOf(h)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return reflect.Value{}, fmt.Errorf("%w: %T is no pointer to a struct", ErrHeader, h)
	}
	return v.Elem(), nil
}

// DecodeHeader fills *h, a struct with `field:"name"` tags, from the extFields of a parsed command. As in Java a missing field
// leaves the default; fields with pointers are optional and stay nil when absent. A number that is none is ErrHeader, since
// Java leaves null then and fails on it as soon as the request is served; for optional fields and those tagged "name,lenient" it
// counts as absent. Apache: RemotingCommand.decodeCommandCustomHeader.
func DecodeHeader(c *Command, h any) error {
	v, err := structOf(h)
	if err != nil {
		return err
	}
	if d, ok := h.(headerDefaults); ok {
		d.setDefaults()
	}
	plan := planOf(v.Type())
	for it := c.Fields(); it.Next(); {
		for i := range plan {
			if string(it.Key) == plan[i].key {
				if !plan[i].set(v.Field(plan[i].position), it.Value) {
					return fmt.Errorf("%w: %s is not a number: %.32q", ErrHeader, plan[i].key, it.Value)
				}
				break
			}
		}
	}
	return nil
}

// set stores the text of one field and reports whether it could.
func (f *taggedField) set(to reflect.Value, text []byte) bool {
	var n int64
	ok := true
	switch f.kind {
	case reflect.Int32:
		var small int32
		small, ok = parseInt32(text)
		n = int64(small)
	case reflect.Int64:
		n, ok = parseInt64(text)
	}
	if !ok {
		return f.lenient
	}
	if f.optional {
		to.Set(reflect.New(to.Type().Elem()))
		to = to.Elem()
	}
	switch f.kind {
	case reflect.Int32, reflect.Int64:
		to.SetInt(n)
	case reflect.Bool:
		to.SetBool(parseBool(text))
	case reflect.String:
		to.SetString(string(text))
	}
	return true
}

// appendTagged writes the fields of a header struct. An empty string counts as Java's null and is left out, unless it is behind
// a pointer.
func appendTagged(w *FieldWriter, h any) {
	v, err := structOf(h)
	if err != nil {
		return
	}
	for _, f := range planOf(v.Type()) {
		value := v.Field(f.position)
		if f.optional {
			if value.IsNil() {
				continue
			}
			value = value.Elem()
		}
		switch f.kind {
		case reflect.Int32, reflect.Int64:
			w.Int(f.key, value.Int())
		case reflect.Bool:
			w.Bool(f.key, value.Bool())
		case reflect.String:
			if f.optional || value.Len() > 0 {
				w.String(f.key, value.String())
			}
		}
	}
}

// hotField counts what a hand-written header parser found wrong, so that the parsers stay one plain loop.
type hotField struct {
	bad string // key of the first number that is none
}

func (f *hotField) int32(key string, text []byte) int32 {
	n, ok := parseInt32(text)
	if !ok && f.bad == "" {
		f.bad = key
	}
	return n
}

func (f *hotField) int64(key string, text []byte) int64 {
	n, ok := parseInt64(text)
	if !ok && f.bad == "" {
		f.bad = key
	}
	return n
}

// check reports a bad number, or the first field that is missing: bit i of seen tells whether required[i] was there.
func (f *hotField) check(seen uint32, required []string) error {
	if f.bad != "" {
		return fmt.Errorf("%w: field %s is not a number", ErrHeader, f.bad)
	}
	if seen == 1<<len(required)-1 {
		return nil
	}
	for i, key := range required {
		if seen&(1<<i) == 0 {
			return fmt.Errorf("%w: field %s is missing", ErrHeader, key)
		}
	}
	return nil
}
