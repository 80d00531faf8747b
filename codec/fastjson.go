package codec

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	jsoniter "github.com/json-iterator/go"
	"github.com/modern-go/reflect2"
)

// The JSON of RocketMQ is what fastjson writes. It differs from the standard's in maps: integer keys stand bare,
// {0:"a"}, and keys that are objects stand as they are, {{"topic":"T"}:1}. Structs declare their fields in alphabetical
// order, which is fastjson's; what is null is left out, what is empty is written. Apache: RemotingSerializable.

var (
	bareJSON     = newJavaJSON(true)
	standardJSON = newJavaJSON(false)
)

// MarshalJSON writes v as fastjson does: integer map keys bare, object keys raw, map keys in order.
func MarshalJSON(v any) ([]byte, error) { return marshalJSON(bareJSON, v) }

// MarshalStandardJSON writes v as MarshalJSON does, but with integer map keys quoted. Object keys stay raw, since no
// reader in Java takes them quoted.
func MarshalStandardJSON(v any) ([]byte, error) { return marshalJSON(standardJSON, v) }

// MarshalPrettyJSON writes v as Java's configuration files stand: MarshalJSON indented with tabs.
func MarshalPrettyJSON(v any) ([]byte, error) {
	b, err := MarshalJSON(v)
	if err != nil {
		return nil, err
	}
	return indentJSON(make([]byte, 0, 2*len(b)), b), nil
}

// UnmarshalJSON reads standard JSON and fastjson's dialect into v. Fields that are absent keep Java's defaults, numbers
// may be quoted, and fastjson's {"$ref":...} is read as null. The error names the place.
func UnmarshalJSON(b []byte, v any) error {
	b, err := standardise(b)
	if err != nil {
		return err
	}
	if err := standardJSON.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode JSON: %w", err)
	}
	return nil
}

func marshalJSON(api jsoniter.API, v any) ([]byte, error) {
	b, err := api.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return b, nil
}

func newJavaJSON(bareKeys bool) jsoniter.API {
	api := jsoniter.Config{SortMapKeys: true}.Froze()
	api.RegisterExtension(&javaExtension{api: api, bareKeys: bareKeys})
	return api
}

// javaExtension bends json-iterator towards fastjson. Its callbacks run once a type.
type javaExtension struct {
	jsoniter.DummyExtension
	api      jsoniter.API
	bareKeys bool
}

func (e *javaExtension) CreateEncoder(typ reflect2.Type) jsoniter.ValEncoder {
	switch t := typ.Type1(); t.Kind() {
	case reflect.Float64:
		return doubleEncoder{}
	case reflect.Map:
		switch t.Key().Kind() {
		case reflect.Int32, reflect.Int64, reflect.Struct:
			return &keyedMapEncoder{t, e.bareKeys}
		}
	}
	return nil
}

func (e *javaExtension) DecorateEncoder(typ reflect2.Type, encoder jsoniter.ValEncoder) jsoniter.ValEncoder {
	switch t := typ.Type1(); t.Kind() {
	case reflect.Map:
		return &emptyEncoder{encoder, "{}"}
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			return &emptyEncoder{encoder, "[]"}
		}
	case reflect.Struct:
		if at, ok := unknownOffset(t); ok {
			return &unknownEncoder{encoder, at}
		}
	}
	return encoder
}

// emptyEncoder writes a nil map or slice as an empty one: Java's are never null.
type emptyEncoder struct {
	jsoniter.ValEncoder
	empty string
}

func (e *emptyEncoder) Encode(ptr unsafe.Pointer, stream *jsoniter.Stream) {
	if *(*unsafe.Pointer)(ptr) == nil { // the first word of a map or a slice
		stream.WriteRaw(e.empty)
		return
	}
	e.ValEncoder.Encode(ptr, stream)
}

// doubleEncoder writes as Double.toString, so always with a point. What is no number is null.
type doubleEncoder struct{}

func (doubleEncoder) IsEmpty(ptr unsafe.Pointer) bool { return *(*float64)(ptr) == 0 }

func (doubleEncoder) Encode(ptr unsafe.Pointer, stream *jsoniter.Stream) {
	f := *(*float64)(ptr)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		stream.WriteNil()
		return
	}
	if abs := math.Abs(f); abs == 0 || abs >= 1e-3 && abs < 1e7 {
		text := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		stream.WriteRaw(text)
		return
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	power, _ := strconv.Atoi(exponent)
	stream.WriteRaw(mantissa + "E" + strconv.Itoa(power))
}

// keyedMapEncoder writes a map whose keys are integers or structs, in the order of the integers or of the keys' text.
type keyedMapEncoder struct {
	typ  reflect.Type
	bare bool
}

func (e *keyedMapEncoder) IsEmpty(ptr unsafe.Pointer) bool {
	return reflect.NewAt(e.typ, ptr).Elem().Len() == 0
}

func (e *keyedMapEncoder) Encode(ptr unsafe.Pointer, stream *jsoniter.Stream) {
	type entry struct {
		text   string
		number int64
		value  reflect.Value
	}
	m := reflect.NewAt(e.typ, ptr).Elem()
	entries := make([]entry, 0, m.Len())
	for it := m.MapRange(); it.Next(); {
		at := entry{value: it.Value()}
		if key := it.Key(); key.Kind() == reflect.Struct {
			text, err := MarshalJSON(key.Interface())
			if err != nil {
				stream.Error = err
				return
			}
			at.text = string(text)
		} else {
			at.number = key.Int()
			at.text = strconv.FormatInt(at.number, 10)
			if !e.bare {
				at.text = `"` + at.text + `"`
			}
		}
		entries = append(entries, at)
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.number != b.number {
			return int(max(-1, min(1, a.number-b.number)))
		}
		return strings.Compare(a.text, b.text)
	})
	stream.WriteObjectStart()
	for i, at := range entries {
		if i > 0 {
			stream.WriteMore()
		}
		stream.WriteRaw(at.text)
		stream.WriteRaw(":")
		stream.WriteVal(at.value.Interface())
	}
	stream.WriteObjectEnd()
}

// unknownEncoder writes a struct and then its UnknownFields, which lie at the offset at.
type unknownEncoder struct {
	jsoniter.ValEncoder
	at uintptr
}

func (e *unknownEncoder) Encode(ptr unsafe.Pointer, stream *jsoniter.Stream) {
	e.ValEncoder.Encode(ptr, stream)
	unknown := *(*UnknownFields)(unsafe.Add(ptr, e.at))
	if len(unknown) == 0 || stream.Error != nil {
		return
	}
	b := stream.Buffer()
	stream.SetBuffer(b[:len(b)-1]) // the struct's closing brace; it has known fields before, so a comma follows
	for _, f := range unknown {
		stream.WriteMore()
		stream.WriteString(f.Name)
		stream.WriteRaw(":")
		stream.WriteRaw(string(f.Value))
	}
	stream.WriteObjectEnd()
}

// unknownOffset returns where the UnknownFields of a struct type lie.
func unknownOffset(t reflect.Type) (uintptr, bool) {
	f, ok := t.FieldByName("Unknown")
	if !ok || f.Type != reflect.TypeFor[UnknownFields]() {
		return 0, false
	}
	return f.Offset, true
}

// indentJSON writes compact JSON src as fastjson's pretty format: one member a line behind tabs, a list of numbers and
// an empty list on one line, an empty object over three.
func indentJSON(dst, src []byte) []byte {
	depth := 0
	line := func() {
		dst = append(dst, '\n')
		for range depth {
			dst = append(dst, '\t')
		}
	}
	for i := 0; i < len(src); i++ {
		switch c := src[i]; c {
		case '"':
			end := stringEnd(src, i)
			dst = append(dst, src[i:end]...)
			i = end - 1
		case '[':
			if end := flatListEnd(src, i); end > 0 {
				dst = append(dst, src[i:end]...)
				i = end - 1
				continue
			}
			fallthrough
		case '{':
			dst = append(dst, c)
			depth++
			line()
		case '}', ']':
			depth--
			line()
			dst = append(dst, c)
		case ',':
			dst = append(dst, c)
			line()
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// flatListEnd returns the end of the list at i when it holds numbers alone or nothing, else 0.
func flatListEnd(src []byte, i int) int {
	for j := i + 1; j < len(src); j++ {
		switch c := src[j]; {
		case c == ']':
			return j + 1
		case c >= '0' && c <= '9', c == ',', c == '-', c == '+', c == '.', c == 'e', c == 'E':
		default:
			return 0
		}
	}
	return 0
}
