package codec

import (
	"bufio"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTagsCodeGoldens(t *testing.T) {
	t.Parallel()
	type golden struct {
		Tag      string `json:"tag"`
		HashCode int32  `json:"hash_code"`
		TagsCode int64  `json:"tags_code"`
	}
	for _, g := range readJSON[[]golden](t, "hash/tags_code.json") {
		require.Equal(t, g.HashCode, JavaHash([]byte(g.Tag)), g.Tag)
		require.Equal(t, g.TagsCode, TagsCode([]byte(g.Tag)), g.Tag)
	}
}

func TestIndexKeyHashGoldens(t *testing.T) {
	t.Parallel()
	type golden struct {
		Topic    *string `json:"topic"`
		Key      string  `json:"key"`
		IndexKey string  `json:"index_key"`
		KeyHash  int32   `json:"key_hash"`
		Slot500  int32   `json:"slot_500"`
	}
	for _, g := range readJSON[[]golden](t, "hash/index_key_hash.json") {
		hash := nonNegative(JavaHash([]byte(g.IndexKey)))
		require.Equal(t, g.KeyHash, hash, g.IndexKey)
		require.Equal(t, g.Slot500, hash%500, g.IndexKey)
		if g.Topic != nil {
			require.Equal(t, g.KeyHash, IndexKeyHash(*g.Topic, []byte(g.Key)), g.IndexKey)
		}
	}
}

// The file holds byte strings, most of them malformed UTF-8, and what new String(bytes, UTF_8).hashCode() said of them.
func TestJavaHashOfMalformedText(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/hash/java_string_hash.txt")
	require.NoError(t, err)
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		text, hash, ok := strings.Cut(lines.Text(), " ")
		require.True(t, ok)
		b, err := hex.DecodeString(text)
		require.NoError(t, err)
		want, err := strconv.ParseInt(hash, 10, 32)
		require.NoError(t, err)
		require.Equal(t, int32(want), JavaHash(b), text)
	}
	require.Equal(t, 3000, n)
}

func TestSubscriptionGoldens(t *testing.T) {
	t.Parallel()
	type golden struct {
		Expression     *string  `json:"expression"`
		SubString      string   `json:"sub_string"`
		TagsSet        []string `json:"tags_set"`
		CodeSet        []int32  `json:"code_set"`
		ExpressionType string   `json:"expression_type"`
		Error          string   `json:"error"`
	}
	for _, g := range readJSON[[]golden](t, "hash/subscription_parse.json") {
		expr := ""
		if g.Expression != nil {
			expr = *g.Expression
		}
		sub, err := ParseSubscription("T", expr, "")
		if g.Error != "" {
			require.ErrorIs(t, err, ErrSubscription, expr)
			continue
		}
		require.NoError(t, err, expr)
		require.Equal(t, "T", sub.Topic)
		require.Equal(t, g.SubString, sub.SubString)
		require.Equal(t, g.ExpressionType, sub.ExpressionType)
		require.ElementsMatch(t, g.TagsSet, sub.TagsSet, expr)
		require.ElementsMatch(t, g.CodeSet, sub.CodeSet, expr)
	}
}

func TestSubscriptionOfOtherTypes(t *testing.T) {
	t.Parallel()
	sub, err := ParseSubscription("T", "a > 1", ExpressionSQL92)
	require.NoError(t, err)
	require.Equal(t, "a > 1", sub.SubString)
	require.Equal(t, ExpressionSQL92, sub.ExpressionType)
	require.Empty(t, sub.TagsSet)
	_, err = ParseSubscription("T", "", ExpressionSQL92)
	require.ErrorIs(t, err, ErrSubscription)
	blank, err := ParseSubscription("T", " || ", ExpressionTag)
	require.NoError(t, err)
	require.Empty(t, blank.TagsSet)
	require.Equal(t, " || ", blank.SubString)
}
