package store

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// sqlTable is what Apache's filter made of expressions and messages.
type sqlTable struct {
	PropertySets []map[string]string `json:"property_sets"`
	Cases        []struct {
		Expression   string  `json:"expression"`
		CompileError *string `json:"compile_error"`
		Results      []struct {
			Value any     `json:"value"`
			Type  string  `json:"type"`
			Error *string `json:"error"`
			Match bool    `json:"match"`
		} `json:"results"`
	} `json:"cases"`
}

func readSQLTable(t testing.TB) *sqlTable {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "filter", "sql92.json.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	table := new(sqlTable)
	require.NoError(t, json.NewDecoder(z).Decode(table))
	require.Len(t, table.PropertySets, 10)
	require.Len(t, table.Cases, 212)
	return table
}

// evalSQL evaluates over a map, in which a property may be empty, other than in a stored message.
func evalSQL(f *SQLFilter, props map[string]string) string {
	e := sqlEval{f: f}
	for i, name := range f.names {
		if value, ok := props[name]; ok {
			e.slots[i] = append(make([]byte, 0, 1), value...)
		}
	}
	switch v, ok := e.run(); {
	case !ok:
		return "error"
	case v.kind == sqlNull:
		return "null"
	case v.kind == sqlBoolean:
		return fmt.Sprint(v.num != 0)
	default:
		return fmt.Sprintf("kind %d", v.kind)
	}
}

func TestSQLTruthTable(t *testing.T) {
	t.Parallel()
	table := readSQLTable(t)
	for _, tt := range table.Cases {
		f, err := CompileSQL(tt.Expression)
		if tt.CompileError != nil {
			require.ErrorIs(t, err, ErrFilter, tt.Expression)
			continue
		}
		require.NoError(t, err, tt.Expression)
		require.Len(t, tt.Results, len(table.PropertySets))
		for i, want := range tt.Results {
			props := table.PropertySets[i]
			value := "error"
			if want.Error == nil {
				value = strings.ReplaceAll(fmt.Sprint(want.Value), "<nil>", "null")
			}
			require.Equal(t, value, evalSQL(f, props), "%s of %v", tt.Expression, props)

			var text []byte
			empty := false
			for key, value := range props {
				text = codec.AppendProperty(text, key, value)
				empty = empty || value == ""
			}
			if !empty {
				require.Equal(t, want.Match, f.Match(text), "%s of %v", tt.Expression, props)
			}
		}
	}
}

// TestSQLBeyondTheTable has what Java's source says and the table does not show.
func TestSQLBeyondTheTable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		expression string
		want       string // or "" when it does not compile
	}{
		{"zero = 0.0", ""}, // below Double.MIN_VALUE
		{"zero = 0.", ""},
		{"a = -0.5", "error"},
		{"zero = .0e5", ""},
		{"n > .5", "true"},
		{"n > 1.", "true"},
		{"n = 5.e0", "true"},
		{"n = 05", "false"}, // 0, and nothing reads the 5
		{"n = 5l", "true"},
		{"n < 4.9e-325", ""},
		{"big = 9223372036854775807", "true"},
		{"big = -9223372036854775808", ""},
		{"least > -9223372036854775807", "false"},
		{"least = 9223372036854775807", "false"},
		{"big > n", "true"},
		{"plus = 5", "true"},
		{"blank = 5", "error"},
		{"blank > 4.5", "true"},
		{"n > 'x'", ""},
		{"inf > 1.5", "true"},
		{"nan > inf", "true"},
		{"nan > 1.5", "true"},
		{"nan = 1.5", "false"},
		{"hex >= 1.5", "true"},
		{"suffix = 2.5", "true"},
		{"under > 1.5", "error"},
		{"small > 1.5", "error"}, // strconv's spelling, not Java's
		{"TRUE = yes", "error"},  // a cast that cannot work
		{"yes = TRUE", "true"},
		{"TRUE = 1", ""},
		{"1 = TRUE", "false"},
		{"1 <> TRUE", "true"},
		{"NULL = 1", ""},
		{"none = nothing", "true"},
		{"n = none", "false"},
		{"none = n", "null"},
		{"n BETWEEN NULL AND 3", ""},
		{"n BETWEEN 3 AND 2.5", ""},
		{"n BETWEEN 6 AND word", "false"}, // the second bound is not looked at
		{"n BETWEEN 4 AND word", "error"},
		{"n NOT BETWEEN 6 AND word", "true"},
		{"n NOT BETWEEN 3 AND 1", "true"}, // this one is not checked
		{"-n IS NULL", "true"},
		{"--5 = 5", "true"},
		{"-TRUE IS NULL", "true"},
		{"-'x' IS NULL", "true"},
		{"-n", ""},
		{"'abc' CONTAINS 'b'", "true"},
		{"5 CONTAINS '5'", "false"},
		{"5 NOT CONTAINS '5'", "false"},
		{"(word = 1) CONTAINS ''", "false"}, // not evaluated
		{"(n = 5) CONTAINS 'x'", "false"},
		{"none NOT CONTAINS 'x'", "false"},
		{"word NOT STARTSWITH ''", "false"},
		{"n IN ('1','2','3','4','5','6','7','8','9','10')", "true"},
		{"n NOT IN ('1','2','3','4','5','6','7','8','9','10')", "false"},
		{"none NOT IN ('1')", "null"},
		{"(n) IN ('5')", "true"},
		{"n = 5 -- to the end of the line\n AND n = 6", "false"},
		{"n = 5 -- of the text AND n = 6", "true"},
		{"n = 5 /* not closed", ""},
		{"n = 5 /**/ AND /***/ n = 6", "false"},
		{"word = 'it''s'", "true"},
		{"word = 'it''", ""},
		{"n = 5 garbage ! here", "true"},
		{"n = 5 !", ""},
		{"n IS", ""},
		{"n NOT", ""},
		{"not n", "true"},
		{"Not Null", "null"},
		{"n = 5 or word > 1", "true"},
		{"n = 6 or word > 1", "error"},
		{"n = 6 and word > 1", "false"},
		{"none = 1 and word > 1", "error"},
		{"none = 1 or n = 5", "true"},
		{"naïve = 1", ""},
	} {
		f, err := CompileSQL(tt.expression)
		if tt.want == "" {
			require.ErrorIs(t, err, ErrFilter, tt.expression)
			continue
		}
		require.NoError(t, err, tt.expression)
		require.Equal(t, tt.want, evalSQL(f, map[string]string{
			"n": "5", "big": "9223372036854775807", "least": "-9223372036854775808", "plus": "+5", "blank": " 5 ", "inf": "Infinity",
			"nan": "NaN", "hex": "0x1.8p0", "suffix": "2.5f", "under": "1_0.0", "small": "inf", "yes": "tRuE", "word": "it's", "a": "x",
			"zero": "0",
		}), tt.expression)
	}
}

// TestSQLOfManyProperties: names beyond those that are looked up together are found, too, and the last of two counts.
func TestSQLOfManyProperties(t *testing.T) {
	t.Parallel()
	var parts []string
	var text []byte
	for i := range 3 * sqlSlots {
		parts = append(parts, fmt.Sprintf("p%d = '%d'", i, i))
		text = codec.AppendProperty(text, fmt.Sprint("p", i), "before")
	}
	for i := range 3 * sqlSlots {
		text = codec.AppendProperty(text, fmt.Sprint("p", i), fmt.Sprint(i))
	}
	f, err := CompileSQL(strings.Join(parts, " AND "))
	require.NoError(t, err)
	require.True(t, f.Match(text))
	require.False(t, f.Match(codec.AppendProperty(text, "p40", "other")))
	require.False(t, f.Match(nil))
	f, err = CompileSQL(strings.Join(parts, " AND ") + " AND none IS NULL AND p47 IN ('47') AND p46 > 45")
	require.NoError(t, err)
	require.True(t, f.Match(text))
}

func TestSQLBounds(t *testing.T) {
	t.Parallel()
	nested := func(open, inner, shut string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(shut, n)
	}
	text := codec.AppendProperty(nil, "a", "1")
	for _, open := range []string{"(", "NOT (", "a = 1 AND (", "a = 2 OR a = 1 AND TRUE = (", "NULL IS NOT NULL OR ("} {
		f, err := CompileSQL(nested(open, "a = 1", strings.Repeat(")", strings.Count(open, "(")), maxSQLDepth/2-2))
		require.NoError(t, err, open)
		require.LessOrEqual(t, f.stack, maxSQLStack)
		require.True(t, f.Match(text), open)
		_, err = CompileSQL(nested(open, "a = 1", ")", 10_000))
		require.ErrorIs(t, err, ErrFilter, open)
	}
	for _, sign := range []string{"-", "+", "NOT ", "- ", "a BETWEEN 1 AND -("} {
		_, err := CompileSQL(strings.Repeat(sign, 10_000))
		require.ErrorIs(t, err, ErrFilter)
	}
	most := strings.Repeat("a = 3 OR ", MaxFilterExpressionBytes/9-1) + "a = 1"
	f, err := CompileSQL(most)
	require.NoError(t, err)
	require.True(t, f.Match(text))
	_, err = CompileSQL(most + strings.Repeat(" ", MaxFilterExpressionBytes))
	require.ErrorIs(t, err, ErrFilter)
	require.Less(t, len(err.Error()), 200)
}

func TestRecordProperties(t *testing.T) {
	t.Parallel()
	props := codec.AppendProperty(nil, "a", "1")
	for _, topic := range []string{"T", strings.Repeat("t", 200)} {
		for _, sysFlag := range []int32{0, codec.SysBornHostV6 | codec.SysStoreHostV6} {
			m := codec.Message{Topic: []byte(topic), Body: []byte("body"), Properties: props, SysFlag: sysFlag}
			record := codec.AppendMessage(nil, &m)
			require.Equal(t, props, recordProperties(record))
			for n := range record { // cut short it has none, or is seen to be
				require.Nil(t, recordProperties(record[:n]))
			}
		}
	}
}

const (
	sqlBenchExpression = "(TAGS is not null and TAGS in ('TagA','TagB')) and a between 1 and 4 and region = 'hangzhou'"
	sqlBenchPrice      = "price > 9.5 AND quantity < 200 OR name CONTAINS 'x'"
)

func sqlBenchProps() []byte {
	var text []byte
	for _, pair := range [][2]string{
		{"region", "hangzhou"}, {"MSG_REGION", "DefaultRegion"}, {"UNIQ_KEY", "7F0000010A2C18B4AAC27A1F5C880000"}, {"CLUSTER", "DefaultCluster"},
		{"a", "3"}, {"WAIT", "true"}, {"TAGS", "TagB"}, {"TRACE_ON", "true"}, {"price", "10.25"}, {"quantity", "100"},
	} {
		text = codec.AppendProperty(text, pair[0], pair[1])
	}
	return text
}

func TestSQLMatchDoesNotAllocate(t *testing.T) {
	text := sqlBenchProps()
	for _, expression := range []string{
		sqlBenchExpression, sqlBenchPrice, "region > 1", "region > 1.5 or a = 3", strings.Repeat("a = 1 OR (", 100) + "a = 3" + strings.Repeat(")", 100),
	} {
		f, err := CompileSQL(expression)
		require.NoError(t, err)
		require.Zero(t, testing.AllocsPerRun(100, func() { f.Match(text) }), expression)
	}
}

func BenchmarkSQLMatch(b *testing.B) {
	for name, expression := range map[string]string{"equal": "a = 3", "and": sqlBenchExpression, "numbers": sqlBenchPrice} {
		b.Run(name, func(b *testing.B) {
			f, err := CompileSQL(expression)
			require.NoError(b, err)
			text := sqlBenchProps()
			b.ReportAllocs()
			for b.Loop() {
				if !f.Match(text) {
					b.Fatal("no match")
				}
			}
		})
	}
}

func BenchmarkSQLCompile(b *testing.B) {
	for name, expression := range map[string]string{
		"usual": sqlBenchExpression, "64KB": strings.Repeat("a = 3 OR ", MaxFilterExpressionBytes/9-1) + "a = 1",
		"64KB-bad": strings.Repeat("-", MaxFilterExpressionBytes),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = CompileSQL(expression)
			}
		})
	}
}

// FuzzSQL: no expression and no properties make the filter panic, and what compiles evaluates the same each time.
func FuzzSQL(f *testing.F) {
	for _, tt := range readSQLTable(f).Cases {
		f.Add(tt.Expression, "a\x01"+"5\x02b\x01hello\x02c\x01true\x02")
	}
	f.Add(strings.Repeat("((-", 300), "")
	f.Fuzz(func(t *testing.T, expression, props string) {
		filter, err := CompileSQL(expression)
		if err != nil {
			require.ErrorIs(t, err, ErrFilter)
			return
		}
		require.LessOrEqual(t, filter.stack, maxSQLStack)
		require.Equal(t, filter.Match([]byte(props)), filter.Match([]byte(props)))
	})
}
