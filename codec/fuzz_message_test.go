package codec

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

func FuzzDecodeMessage(f *testing.F) {
	for _, g := range goldenMessages(f) {
		f.Add(g.Raw)
	}
	f.Add(AppendBlank(nil, 1024))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clip(b)
		var m Message
		n, err := DecodeMessage(b, &m)
		if err != nil {
			return
		}
		if n > len(b) || n != int(m.TotalSizeBytes) {
			t.Fatalf("used %d of %d bytes, size %d", n, len(b), m.TotalSizeBytes)
		}
		again := AppendMessage(nil, &m)
		var back Message
		if _, err := DecodeMessage(again, &back); err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		m.BodyCRC = BodyCRC(m.Body)
		if !reflect.DeepEqual(m, back) {
			t.Fatalf("%+v became %+v", m, back)
		}
		if len(again) != n {
			t.Fatalf("%d bytes became %d", n, len(again))
		}
	})
}

func FuzzBatchIter(f *testing.F) {
	for _, g := range readLines[goldenBatch](f, "messages/batch_bodies.jsonl") {
		f.Add(g.Raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		n := 0
		it := NewBatchIter(slices.Clip(b))
		for it.Next() {
			again = AppendBatchEntry(again, it.Flag, it.Body, it.Properties)
			n++
		}
		if it.Err() == nil && len(again) != len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(again))
		}
		back := NewBatchIter(again)
		for back.Next() {
			n--
		}
		if n != 0 || back.Err() != nil {
			t.Fatalf("%d entries lost: %v", n, back.Err())
		}
	})
}

func FuzzProperties(f *testing.F) {
	for _, g := range goldenMessages(f) {
		var m Message
		if _, err := DecodeMessage(g.Raw, &m); err == nil {
			f.Add(m.Properties, PropKeys)
		}
	}
	f.Fuzz(func(t *testing.T, props []byte, key string) {
		want := propertyMap(props)
		var again []byte
		for it := NewPropertyIter(props); it.Next(); {
			again = AppendPropertyBytes(again, string(it.Key), it.Value)
		}
		if got := propertyMap(again); !reflect.DeepEqual(want, got) {
			t.Fatalf("%q became %q", want, got)
		}
		value, ok := Property(props, key)
		if wantValue, wantOK := want[key]; ok != wantOK || string(value) != wantValue {
			t.Fatalf("%q is %q, want %q", key, value, wantValue)
		}
		without := propertyMap(AppendPropertiesWithout(nil, props, key))
		delete(want, key)
		if !reflect.DeepEqual(want, without) {
			t.Fatalf("without %q: %q, want %q", key, without, want)
		}
	})
}

func FuzzOffsetMsgID(f *testing.F) {
	f.Add("7F00000100002A9F0000000000000000")
	f.Add("20010DB8000000000000000000000001000000010000000000000000")
	f.Fuzz(func(t *testing.T, id string) {
		host, physOffset, err := ParseOffsetMsgID(id)
		if err != nil {
			return
		}
		again := string(AppendOffsetMsgID(nil, host, physOffset))
		if host.Addr().Is4In6() {
			return // Java knows no such address
		}
		backHost, backOffset, err := ParseOffsetMsgID(again)
		if err != nil || backHost != host || backOffset != physOffset {
			t.Fatalf("%q is %v %d, %q is %v %d %v", id, host, physOffset, again, backHost, backOffset, err)
		}
	})
}

func FuzzJavaHash(f *testing.F) {
	f.Add([]byte("TagA"))
	f.Add([]byte("\xf0\x9f\x92"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if JavaHash(slices.Clip(b)) != javaHash(0, string(b)) {
			t.Fatal("bytes and text differ")
		}
		IndexKeyHash("T", b)
	})
}

func FuzzUnmarshalJSON(f *testing.F) {
	for _, g := range readLines[wireBody](f, "bodies/wire.jsonl") {
		f.Add([]byte(g.Body))
	}
	files, err := filepath.Glob("testdata/bodies/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no files", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{{"$ref":"$.a"}:{0:1},5:{x:[{}]}}`))
	types := make([]reflect.Type, 0, len(bodyTypes))
	for _, typ := range bodyTypes {
		types = append(types, typ)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, typ := range types {
			v := reflect.New(typ).Interface()
			if UnmarshalJSON(b, v) != nil {
				continue
			}
			text, err := MarshalJSON(v)
			if err != nil {
				t.Fatalf("%s: encode what was decoded: %v", typ, err)
			}
			back := reflect.New(typ).Interface()
			if err := UnmarshalJSON(text, back); err != nil {
				t.Fatalf("%s: decode what was encoded: %v\n%s", typ, err, text)
			}
			again, err := MarshalJSON(back)
			if err != nil || !bytes.Equal(text, again) {
				t.Fatalf("%s: %s became %s, %v", typ, text, again, err)
			}
			if _, err := MarshalPrettyJSON(v); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzDecodeRegisterBrokerBody(f *testing.F) {
	for _, file := range []string{"testdata/bodies/register_plain.json", "testdata/bodies/register_compressed.bin"} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, compressed := range []bool{false, true} {
			PeekRegisterBrokerBody(b, compressed)
			body, err := DecodeRegisterBrokerBody(b, compressed, Version)
			if err != nil {
				continue
			}
			if _, err := EncodeRegisterBrokerBody(body, compressed, Version); err != nil {
				t.Fatal(err)
			}
		}
	})
}
