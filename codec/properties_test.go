package codec

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func propertyMap(props []byte) map[string]string {
	m := map[string]string{}
	for it := NewPropertyIter(props); it.Next(); {
		m[string(it.Key)] = string(it.Value)
	}
	return m
}

func TestPropertyGoldens(t *testing.T) {
	t.Parallel()
	goldens := readJSON[struct {
		Codec []struct {
			Text    *string           `json:"string"`
			Encoded *string           `json:"encoded"`
			Decoded map[string]string `json:"decoded"`
		} `json:"properties_codec"`
	}](t, "hash/message_version.json")
	require.NotEmpty(t, goldens.Codec)
	for _, g := range goldens.Codec {
		text := ""
		if g.Text != nil {
			text = *g.Text
		} else if g.Encoded != nil {
			text = *g.Encoded
		}
		require.Equal(t, g.Decoded, propertyMap([]byte(text)), "%q", text)
		for key, want := range g.Decoded {
			value, ok := Property([]byte(text), key)
			require.True(t, ok)
			require.Equal(t, want, string(value))
		}
	}
}

func TestAppendProperty(t *testing.T) {
	t.Parallel()
	props := AppendProperty(nil, PropKeys, "a b")
	props = AppendPropertyBytes(props, PropTags, []byte("T"))
	require.Equal(t, "KEYS\x01a b\x02TAGS\x01T\x02", string(props))
	_, ok := Property(props, "KEY")
	require.False(t, ok)
	_, ok = Property(nil, PropKeys)
	require.False(t, ok)
}

func TestAppendPropertiesWithout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, props, want string }{
		{"none", "", ""},
		{"one of three", "a\x011\x02POP_CK\x01x\x02b\x012\x02", "a\x011\x02b\x012\x02"},
		{"twice", "POP_CK\x01x\x02a\x011\x02POP_CK\x01y\x02", "a\x011\x02"},
		{"a prefix of the key", "POP_CK_OFFSET\x011\x02POP\x012\x02", "POP_CK_OFFSET\x011\x02POP\x012\x02"},
		{"no end", "a\x011", "a\x011\x02"},
		{"a pair Java drops", "a\x01\x02b\x012\x02", "b\x012\x02"},
		{"the other key", "CLUSTER\x01c\x02a\x011\x02", "a\x011\x02"},
	} {
		require.Equal(t, c.want, string(AppendPropertiesWithout(nil, []byte(c.props), PropPopCK, PropCluster)), c.name)
	}
	require.Equal(t, "x", string(AppendPropertiesWithout([]byte("x"), []byte(strings.Repeat("\x02", 9)))))
}

// The walk finds the pairs that a split at the separators has, wherever in a text they lie.
func TestPropertyIter(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	words := []string{"UNIQ_KEY", "KEYS", "T", "K", "a", "", "\x00", "\x03", "\x01", "\x02", "\x01\x02", "\x81\x82", "\xff\x80", "value of a key"}
	for range 20000 {
		var props []byte
		for range rnd.IntN(12) {
			props = append(props, words[rnd.IntN(len(words))]...)
			if rnd.IntN(2) == 0 {
				props = append(props, byte(1+rnd.IntN(2)))
			}
		}
		var want, got [][2]string
		for pair := range strings.SplitSeq(string(props), "\x02") {
			if key, value, _ := strings.Cut(pair, "\x01"); key != "" && value != "" {
				want = append(want, [2]string{key, value})
			}
		}
		for it := NewPropertyIter(props); it.Next(); {
			got = append(got, [2]string{string(it.Key), string(it.Value)})
		}
		require.Equal(t, want, got, "%q", props)
	}
}

// benchProperties are what a client's message has when it is stored.
func benchProperties() (props []byte) {
	for _, kv := range [][2]string{{PropUniqKey, "C000020267114E0E2F2A675FA9160000"}, {PropCluster, "DefaultCluster"},
		{PropMsgRegion, "DefaultRegion"}, {PropTraceOn, "true"}, {PropTags, "TagA"}, {PropWait, "true"}} {
		props = AppendProperty(props, kv[0], kv[1])
	}
	return props
}

func BenchmarkPropertyIter(b *testing.B) {
	props := benchProperties()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for it := NewPropertyIter(props); it.Next(); {
			n++
		}
		if n != 6 {
			b.Fatal(n)
		}
	}
}

func BenchmarkProperty(b *testing.B) {
	props := benchProperties()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Property(props, PropTags); !ok {
			b.Fatal("not found")
		}
	}
}
