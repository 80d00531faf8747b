package store

import (
	"fmt"
	"strings"
)

// sqlToken is a piece of an expression. Keywords, in capitals, and signs are their own kind.
type sqlToken struct {
	kind string
	text string
	pos  int
}

// Kinds of tokens that stand for more than themselves.
const (
	sqlTokenEnd    = "end of the expression"
	sqlTokenName   = "name"
	sqlTokenInt    = "integer"
	sqlTokenFloat  = "number"
	sqlTokenString = "string"
)

var sqlKeywords = map[string]string{
	"NOT": "NOT", "AND": "AND", "OR": "OR", "BETWEEN": "BETWEEN", "IN": "IN", "TRUE": "TRUE", "FALSE": "FALSE", "NULL": "NULL",
	"IS": "IS", "CONTAINS": "CONTAINS", "STARTSWITH": "STARTSWITH", "ENDSWITH": "ENDSWITH",
}

const maxSQLKeyword = len("STARTSWITH")

// sqlLexer cuts an expression into tokens, when they are asked for: what stands behind the end of the grammar is never looked at,
// as in Java. Apache: SelectorParser.jj.
type sqlLexer struct {
	text    string
	pos     int
	lastEOL int // the last end of a line, -1 without one
}

func newSQLLexer(text string) sqlLexer {
	return sqlLexer{text: text, lastEOL: strings.LastIndexAny(text, "\r\n")}
}

// next returns the next token.
func (x *sqlLexer) next() (sqlToken, error) {
	x.skip()
	t := sqlToken{kind: sqlTokenEnd, pos: x.pos}
	if x.pos == len(x.text) {
		return t, nil
	}
	rest := x.text[x.pos:]
	n := 0
	switch c := rest[0]; {
	case isNameByte(c) && !isDigit(c):
		for n = 1; n < len(rest) && isNameByte(rest[n]); n++ {
		}
		t.kind = sqlTokenName
		if n <= maxSQLKeyword {
			if kind, ok := sqlKeywords[strings.ToUpper(rest[:n])]; ok {
				t.kind = kind
			}
		}
	case isDigit(c) || c == '.':
		n, t.kind = numberToken(rest)
	case c == '\'':
		n, t.kind = stringToken(rest), sqlTokenString
	case strings.HasPrefix(rest, ">="), strings.HasPrefix(rest, "<="), strings.HasPrefix(rest, "<>"):
		n, t.kind = 2, rest[:2]
	case strings.IndexByte("=<>(),+-", c) >= 0:
		n, t.kind = 1, rest[:1]
	}
	if n == 0 {
		return t, x.errorf(x.pos, "no token begins with %s", quoted(rest))
	}
	t.text = rest[:n]
	x.pos += n
	return t, nil
}

// skip passes over blanks and comments. A line comment must end with its line, otherwise it is two signs.
func (x *sqlLexer) skip() {
	for x.pos < len(x.text) {
		rest := x.text[x.pos:]
		switch {
		case strings.IndexByte(" \t\n\r\f", rest[0]) >= 0:
			x.pos++
		case strings.HasPrefix(rest, "--") && x.lastEOL > x.pos:
			x.pos += strings.IndexAny(rest, "\r\n") + 1
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				return
			}
			x.pos += 2 + end + 2
		default:
			return
		}
	}
}

func (x *sqlLexer) errorf(pos int, format string, args ...any) error {
	return fmt.Errorf("%w: at character %d: %s", ErrFilter, pos+1, fmt.Sprintf(format, args...))
}

// quoted is the beginning of a text, as a message shows it.
func quoted(text string) string {
	const most = 32
	if len(text) > most {
		return fmt.Sprintf("%q...", text[:most])
	}
	return fmt.Sprintf("%q", text)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || isDigit(c)
}

func digitsLen(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// exponentLen returns the length of the exponent that s begins with, 0 without one.
func exponentLen(s string) int {
	if s == "" || s[0]|0x20 != 'e' {
		return 0
	}
	n := 1
	if n < len(s) && (s[n] == '+' || s[n] == '-') {
		n++
	}
	if d := digitsLen(s[n:]); d > 0 {
		return n + d
	}
	return 0
}

// numberToken returns the length and kind of the number that s begins with; 0 for a point alone. An integer that begins with 0
// is 0, the rest is another token.
func numberToken(s string) (n int, kind string) {
	n = digitsLen(s)
	if n < len(s) && s[n] == '.' {
		if fraction := digitsLen(s[n+1:]); n > 0 || fraction > 0 {
			n += 1 + fraction
			return n + exponentLen(s[n:]), sqlTokenFloat
		}
		return 0, ""
	}
	if exponent := exponentLen(s[n:]); exponent > 0 {
		return n + exponent, sqlTokenFloat
	}
	if s[0] == '0' {
		return 1, sqlTokenInt
	}
	if n < len(s) && s[n]|0x20 == 'l' {
		n++
	}
	return n, sqlTokenInt
}

// stringToken returns the length of the string that s begins with; 0 when it does not end. Two quotes in it are one.
func stringToken(s string) int {
	end := 0
	for at := 1; ; {
		i := strings.IndexByte(s[at:], '\'')
		if i < 0 {
			return end
		}
		end = at + i + 1
		if end == len(s) || s[end] != '\'' {
			return end
		}
		at = end + 1
	}
}
