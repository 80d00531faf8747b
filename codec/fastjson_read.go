package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"unsafe"

	jsoniter "github.com/json-iterator/go"
	"github.com/modern-go/reflect2"
)

const maxDialectDepth = 256

var errJSON = errors.New("malformed JSON")

var refMark = []byte(`"$ref"`)

// standardise returns b itself when it is in the standard's form as far as fastjson's habits go, else a copy in which
// bare keys are quoted, object keys are quoted JSON and references are null.
func standardise(b []byte) ([]byte, error) {
	if !isDialect(b) {
		return b, nil
	}
	r := dialectReader{in: b, out: make([]byte, 0, len(b)+len(b)/4)}
	if !r.value(0) {
		return nil, fmt.Errorf("decode JSON at %d: %w", r.pos, errJSON)
	}
	r.out = append(r.out, r.in[r.pos:]...)
	return r.out, nil
}

// isDialect looks for an object that does not begin with a string, and for references.
func isDialect(b []byte) bool {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			end := stringEnd(b, i)
			if bytes.Equal(b[i:end], refMark) {
				return true
			}
			i = end - 1
		case '{':
			for i+1 < len(b) && isJSONSpace(b[i+1]) {
				i++
			}
			if i+1 < len(b) && b[i+1] != '"' && b[i+1] != '}' {
				return true
			}
		}
	}
	return false
}

// dialectReader copies one value from in to out, changing what the standard has no place for.
type dialectReader struct {
	in    []byte
	pos   int
	out   []byte
	inKey bool // inside a key that is an object: no such key again, or quoting would grow it without bound
}

func (r *dialectReader) value(depth int) bool {
	switch c := r.peek(); {
	case depth > maxDialectDepth:
		return false
	case c == '{':
		return r.object(depth)
	case c == '[':
		return r.list(depth)
	case c == '"':
		return r.text()
	}
	word := r.word()
	r.out = append(r.out, word...)
	return len(word) > 0
}

func (r *dialectReader) list(depth int) bool {
	r.take()
	if r.peek() == ']' {
		r.take()
		return true
	}
	for r.value(depth + 1) {
		switch r.peek() {
		case ',':
			r.take()
		case ']':
			r.take()
			return true
		default:
			return false
		}
	}
	return false
}

func (r *dialectReader) object(depth int) bool {
	start := len(r.out)
	r.take()
	if r.peek() == '}' {
		r.take()
		return true
	}
	for r.key(depth) && r.peek() == ':' {
		r.take()
		if !r.value(depth + 1) {
			return false
		}
		switch r.peek() {
		case ',':
			r.take()
		case '}':
			r.take()
			if bytes.HasPrefix(r.out[start+1:], refMark) {
				r.out = append(r.out[:start], "null"...)
			}
			return true
		default:
			return false
		}
	}
	return false
}

func (r *dialectReader) key(depth int) bool {
	switch r.peek() {
	case '"':
		return r.text()
	case '{':
		if r.inKey {
			return false
		}
		r.inKey = true
		start := len(r.out)
		ok := r.object(depth + 1)
		object := string(r.out[start:])
		r.out = appendQuoted(r.out[:start], object)
		r.inKey = false
		return ok
	}
	word := r.word()
	for _, c := range word {
		if !isWordByte(c) {
			return false
		}
	}
	r.out = append(r.out, '"')
	r.out = append(r.out, word...)
	r.out = append(r.out, '"')
	return len(word) > 0
}

func (r *dialectReader) text() bool {
	end := stringEnd(r.in, r.pos)
	r.out = append(r.out, r.in[r.pos:end]...)
	r.pos = end
	return true
}

// word cuts what stands up to the next mark, space or quote.
func (r *dialectReader) word() []byte {
	start := r.pos
	for r.pos < len(r.in) && !isJSONSpace(r.in[r.pos]) && bytes.IndexByte([]byte(`{}[]:,"`), r.in[r.pos]) < 0 {
		r.pos++
	}
	return r.in[start:r.pos]
}

// peek skips spaces and returns the byte there, 0 at the end.
func (r *dialectReader) peek() byte {
	for r.pos < len(r.in) && isJSONSpace(r.in[r.pos]) {
		r.pos++
	}
	if r.pos == len(r.in) {
		return 0
	}
	return r.in[r.pos]
}

// take copies the byte at which peek stands.
func (r *dialectReader) take() {
	r.out = append(r.out, r.in[r.pos])
	r.pos++
}

// isWordByte reports whether a bare key may hold c.
func isWordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-' || c == '$'
}

func isJSONSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// stringEnd returns the place behind the string that begins at i, or the end of b when it does not end.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// appendQuoted writes JSON text as a JSON string. The text is valid inside, so only quotes and backslashes matter.
func appendQuoted(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, text[i])
	}
	return append(dst, '"')
}

// jsonDefaulter is a struct some of whose fields are not zero when absent.
type jsonDefaulter interface{ setDefaults() }

func (e *javaExtension) CreateDecoder(typ reflect2.Type) jsoniter.ValDecoder {
	switch typ.Kind() {
	case reflect.Int32, reflect.Int64:
		return &intDecoder{wide: typ.Kind() == reflect.Int64}
	case reflect.Bool:
		return boolDecoder{}
	case reflect.String:
		return stringDecoder{}
	}
	return nil
}

func (e *javaExtension) CreateMapKeyDecoder(typ reflect2.Type) jsoniter.ValDecoder {
	if typ.Kind() == reflect.Struct {
		return &objectKeyDecoder{e.api, typ.Type1()}
	}
	return nil
}

func (e *javaExtension) DecorateDecoder(typ reflect2.Type, decoder jsoniter.ValDecoder) jsoniter.ValDecoder {
	t := typ.Type1()
	switch t.Kind() {
	case reflect.Struct:
		if at, ok := unknownOffset(t); ok {
			decoder = newUnknownDecoder(e.api, t, at)
		}
		if reflect.PointerTo(t).Implements(reflect.TypeFor[jsonDefaulter]()) {
			return &defaultsDecoder{decoder, t}
		}
	case reflect.Map, reflect.Slice:
		if t.Elem().Kind() == reflect.Pointer {
			return &noNilDecoder{decoder, t}
		}
	}
	return decoder
}

// defaultsDecoder sets Java's defaults before a struct is read.
type defaultsDecoder struct {
	jsoniter.ValDecoder
	typ reflect.Type
}

func (d *defaultsDecoder) Decode(ptr unsafe.Pointer, iter *jsoniter.Iterator) {
	reflect.NewAt(d.typ, ptr).Interface().(jsonDefaulter).setDefaults()
	d.ValDecoder.Decode(ptr, iter)
}

// noNilDecoder takes the null elements out of a map or slice of pointers, so that nobody meets them.
type noNilDecoder struct {
	jsoniter.ValDecoder
	typ reflect.Type
}

func (d *noNilDecoder) Decode(ptr unsafe.Pointer, iter *jsoniter.Iterator) {
	d.ValDecoder.Decode(ptr, iter)
	v := reflect.NewAt(d.typ, ptr).Elem()
	if v.Kind() == reflect.Map {
		for it := v.MapRange(); it.Next(); {
			if it.Value().IsNil() {
				v.SetMapIndex(it.Key(), reflect.Value{})
			}
		}
		return
	}
	kept := 0
	for i := range v.Len() {
		if elem := v.Index(i); !elem.IsNil() {
			v.Index(kept).Set(elem)
			kept++
		}
	}
	v.SetLen(kept)
}

// unknownDecoder reads a struct and keeps the members it has no field for in its UnknownFields.
type unknownDecoder struct {
	fields map[string]fieldDecoder
	at     uintptr
}

type fieldDecoder struct {
	jsoniter.ValDecoder
	offset uintptr
}

func newUnknownDecoder(api jsoniter.API, t reflect.Type, at uintptr) *unknownDecoder {
	d := &unknownDecoder{make(map[string]fieldDecoder), at}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := bytes.Cut([]byte(f.Tag.Get("json")), []byte(","))
		if string(name) != "-" {
			decoder := api.DecoderOf(reflect2.Type2(reflect.PointerTo(f.Type)))
			d.fields[string(name)] = fieldDecoder{decoder, f.Offset}
		}
	}
	return d
}

func (d *unknownDecoder) Decode(ptr unsafe.Pointer, iter *jsoniter.Iterator) {
	iter.ReadMapCB(func(iter *jsoniter.Iterator, name string) bool {
		if f, ok := d.fields[name]; ok {
			f.Decode(unsafe.Add(ptr, f.offset), iter)
		} else {
			unknown := (*UnknownFields)(unsafe.Add(ptr, d.at))
			*unknown = append(*unknown, UnknownField{name, iter.SkipAndReturnBytes()})
		}
		return iter.Error == nil
	})
}

// objectKeyDecoder reads a map key that standardise has quoted.
type objectKeyDecoder struct {
	api jsoniter.API
	typ reflect.Type
}

func (d *objectKeyDecoder) Decode(ptr unsafe.Pointer, iter *jsoniter.Iterator) {
	text := iter.ReadString()
	if iter.Error != nil {
		return
	}
	if err := d.api.UnmarshalFromString(text, reflect.NewAt(d.typ, ptr).Interface()); err != nil {
		iter.ReportError("object key", err.Error())
	}
}

// intDecoder reads an integer as fastjson casts: from a number, a decimal fraction or a string of one.
type intDecoder struct{ wide bool }

func (d *intDecoder) Decode(ptr unsafe.Pointer, iter *jsoniter.Iterator) {
	var text string
	switch iter.WhatIsNext() {
	case jsoniter.NilValue:
		iter.Skip()
		return
	case jsoniter.BoolValue:
		text = "0"
		if iter.ReadBool() {
			text = "1"
		}
	case jsoniter.StringValue:
		if text = iter.ReadString(); text == "" || text == "null" {
			return
		}
	default:
		text = string(iter.ReadNumber())
	}
	if iter.Error != nil {
		return
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || !(math.Abs(f) < math.MaxInt64) {
			iter.ReportError("integer", strconv.Quote(text))
			return
		}
		n = int64(f)
	}
	if d.wide {
		*(*int64)(ptr) = n
	} else {
		*(*int32)(ptr) = int32(n)
	}
}

// boolDecoder reads true and false, also in quotes and as 1 and 0.
type boolDecoder struct{}

func (boolDecoder) Decode(ptr unsafe.Pointer, iter *jsoniter.Iterator) {
	switch iter.WhatIsNext() {
	case jsoniter.NilValue:
		iter.Skip()
	case jsoniter.StringValue:
		text := iter.ReadString()
		*(*bool)(ptr) = text == "true" || text == "TRUE" || text == "1"
	case jsoniter.NumberValue:
		*(*bool)(ptr) = iter.ReadNumber() == "1"
	default:
		*(*bool)(ptr) = iter.ReadBool()
	}
}

// stringDecoder reads a string, and of any other value its text.
type stringDecoder struct{}

func (stringDecoder) Decode(ptr unsafe.Pointer, iter *jsoniter.Iterator) {
	switch iter.WhatIsNext() {
	case jsoniter.NilValue:
		iter.Skip()
	case jsoniter.StringValue:
		*(*string)(ptr) = iter.ReadString()
	default:
		*(*string)(ptr) = string(iter.SkipAndReturnBytes())
	}
}
