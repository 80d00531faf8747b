package store

import (
	"math"
	"strconv"
	"strings"
)

func sqlTruth(b bool) sqlValue {
	if b {
		return sqlValue{kind: sqlBoolean, num: 1}
	}
	return sqlValue{kind: sqlBoolean}
}

func sqlFloat(f float64) sqlValue {
	return sqlValue{kind: sqlDouble, num: int64(math.Float64bits(f))}
}

func (v sqlValue) isNumber() bool { return v.kind >= sqlInteger && v.kind <= sqlDouble }

func (v sqlValue) float() float64 {
	if v.kind == sqlDouble {
		return math.Float64frombits(uint64(v.num))
	}
	return float64(v.num)
}

// negated is null for what is no number. Apache: UnaryExpression.createNegate.
func (v sqlValue) negated() sqlValue {
	switch v.kind {
	case sqlInteger:
		v.num = int64(int32(-v.num))
	case sqlLong:
		v.num = -v.num
	case sqlDouble:
		return sqlFloat(-v.float())
	default:
		return sqlValue{}
	}
	return v
}

// compareBy makes a comparison; ok is false where Java throws. Apache: ComparisonExpression.
func (e *sqlEval) compareBy(op sqlOp, l, r sqlValue) (v sqlValue, ok bool) {
	if l.kind == sqlNull || r.kind == sqlNull {
		if op == sqlEqual && (l.kind != sqlNull || r.kind == sqlNull) {
			return sqlTruth(l.kind == r.kind), true
		}
		return sqlValue{}, true
	}
	var c int
	if op != sqlEqual && l.kind == sqlText && r.kind == sqlText {
		c, ok = compareFloatTexts(e.text(l), e.text(r))
	} else {
		c, ok = e.compare(l, r)
	}
	switch op {
	case sqlEqual:
		return sqlTruth(c == 0), ok
	case sqlGreater:
		return sqlTruth(c > 0), ok
	case sqlGreaterEq:
		return sqlTruth(c >= 0), ok
	case sqlLess:
		return sqlTruth(c < 0), ok
	default:
		return sqlTruth(c <= 0), ok
	}
}

// compare brings two values that are not null to one type, the one that is no text deciding, and compares them; ok is false for
// a text that cannot be brought to it. A boolean is less than a number, whichever side it stands on.
func (e *sqlEval) compare(l, r sqlValue) (c int, ok bool) {
	switch {
	case l.kind == sqlText && r.kind == sqlText:
		return strings.Compare(e.text(l), e.text(r)), true
	case l.kind == sqlText:
		if l, ok = convertText(e.text(l), r.kind); !ok {
			return 0, false
		}
	case r.kind == sqlText:
		if l.kind == sqlBoolean { // a cast in Java that cannot work
			return 0, false
		}
		if r, ok = convertText(e.text(r), l.kind); !ok {
			return 0, false
		}
	}
	switch {
	case (l.kind == sqlBoolean) != (r.kind == sqlBoolean):
		return -1, true
	case l.kind == sqlDouble || r.kind == sqlDouble:
		return compareFloats(l.float(), r.float()), true
	case l.num < r.num:
		return -1, true
	case l.num > r.num:
		return 1, true
	}
	return 0, true
}

// convertText reads a text as a value of another kind, as Java's valueOf of that type does.
func convertText(text string, kind sqlKind) (v sqlValue, ok bool) {
	v.kind = kind
	switch kind {
	case sqlBoolean:
		return sqlTruth(strings.EqualFold(text, "true")), true
	case sqlInteger:
		v.num, ok = parseJavaInteger(text, math.MinInt32, math.MaxInt32)
	case sqlLong:
		v.num, ok = parseJavaInteger(text, math.MinInt64, math.MaxInt64)
	default:
		var f float64
		f, ok = parseJavaDouble(text)
		v = sqlFloat(f)
	}
	return v, ok
}

// parseJavaInteger reads a decimal number within bounds. Apache calls Integer.valueOf and Long.valueOf.
func parseJavaInteger(text string, least, most int64) (n int64, ok bool) {
	negative := false
	if text != "" && (text[0] == '-' || text[0] == '+') {
		negative, text = text[0] == '-', text[1:]
	}
	if text == "" {
		return 0, false
	}
	for i := 0; i < len(text); i++ { // downwards, since there is one more number below zero
		d := int64(text[i]) - '0'
		if d < 0 || d > 9 || n < (math.MinInt64+d)/10 {
			return 0, false
		}
		n = n*10 - d
	}
	if !negative {
		if n == math.MinInt64 {
			return 0, false
		}
		n = -n
	}
	return n, n >= least && n <= most
}

func compareFloatTexts(l, r string) (c int, ok bool) {
	lf, lok := parseJavaDouble(l)
	rf, rok := parseJavaDouble(r)
	return compareFloats(lf, rf), lok && rok
}

// compareFloats orders as Double.compareTo: -0.0 below 0.0, NaN above all and equal to itself.
func compareFloats(l, r float64) int {
	switch {
	case l < r:
		return -1
	case l > r:
		return 1
	}
	lBits, rBits := javaDoubleBits(l), javaDoubleBits(r)
	switch {
	case lBits < rBits:
		return -1
	case lBits > rBits:
		return 1
	}
	return 0
}

func javaDoubleBits(f float64) int64 {
	if math.IsNaN(f) {
		return 0x7ff8000000000000
	}
	return int64(math.Float64bits(f))
}

// parseJavaDouble reads what Double.valueOf reads: blanks around it, a sign, NaN, Infinity, decimal or hexadecimal digits, and a
// type suffix. It looks at the text before strconv does, whose errors allocate.
func parseJavaDouble(text string) (f float64, ok bool) {
	for text != "" && text[0] <= ' ' {
		text = text[1:]
	}
	for text != "" && text[len(text)-1] <= ' ' {
		text = text[:len(text)-1]
	}
	unsigned := text
	if text != "" && (text[0] == '-' || text[0] == '+') {
		unsigned = text[1:]
	}
	switch unsigned {
	case "":
		return 0, false
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		if text[0] == '-' {
			return math.Inf(-1), true
		}
		return math.Inf(1), true
	}
	switch unsigned[len(unsigned)-1] {
	case 'f', 'F', 'd', 'D':
		text, unsigned = text[:len(text)-1], unsigned[:len(unsigned)-1]
	}
	if !isJavaFloat(unsigned) {
		return 0, false
	}
	f, _ = strconv.ParseFloat(text, 64) // too large is infinite
	return f, true
}

func isHexFloat(s string) bool { return len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' }

// isJavaFloat reports whether s is digits with at most one point and an exponent, which hexadecimal ones must have.
func isJavaFloat(s string) bool {
	hex := isHexFloat(s)
	if hex {
		s = s[2:]
	}
	digits, points, i := 0, 0, 0
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9', hex && (c|0x20) >= 'a' && (c|0x20) <= 'f':
			digits++
			continue
		case c == '.' && points == 0:
			points++
			continue
		}
		break
	}
	if digits == 0 {
		return false
	}
	if i == len(s) {
		return !hex
	}
	if mark := s[i] | 0x20; mark != 'e' && !hex || mark != 'p' && hex {
		return false
	}
	i++
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	if i == len(s) {
		return false
	}
	for ; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
