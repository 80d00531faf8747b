package store

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sqlParser makes code of an expression while it reads it. Names of its methods are those of Java's grammar. After an error
// every token is the end, so that all loops end. Apache: SelectorParser.jj.
type sqlParser struct {
	lexer sqlLexer
	tok   sqlToken // the next one
	f     *SQLFilter
	names map[string]int32
	depth int // of parentheses and prefixes
	stack int // values on the stack at this point of the code
	err   error
}

// sqlOperand is what the parser knows of an expression whose code it has just written.
type sqlOperand struct {
	class sqlClass
	value sqlValue // of a constant
	start int      // of its code
}

type sqlClass uint8

const (
	sqlOther     sqlClass = iota // a negated number
	sqlConstant                  // a literal
	sqlProperty                  // the name of a property
	sqlCondition                 // something that is true, false or null
)

// CompileSQL compiles an expression. The error is ErrFilter. Apache: SqlFilter.compile.
func CompileSQL(expression string) (*SQLFilter, error) {
	if len(expression) > MaxFilterExpressionBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrFilter, len(expression), MaxFilterExpressionBytes)
	}
	p := sqlParser{lexer: newSQLLexer(strings.Clone(expression)), f: &SQLFilter{}, names: make(map[string]int32)}
	p.next()
	o := p.or()
	p.asCondition(o)
	if p.f.stack > maxSQLStack {
		p.fail("it needs too many values at once")
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.f, nil
}

func (p *sqlParser) next() {
	if p.err != nil {
		return
	}
	t, err := p.lexer.next()
	if err != nil {
		p.err = err
		t = sqlToken{kind: sqlTokenEnd}
	}
	p.tok = t
}

func (p *sqlParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = p.lexer.errorf(p.tok.pos, format, args...)
		p.tok = sqlToken{kind: sqlTokenEnd}
	}
}

// take passes over a token of that kind, if it is the next one.
func (p *sqlParser) take(kind string) bool {
	if p.tok.kind != kind {
		return false
	}
	p.next()
	return p.err == nil
}

// expect passes over a token that must come, and returns its text.
func (p *sqlParser) expect(kind string) string {
	text := p.tok.text
	if p.tok.kind != kind {
		p.unexpected(kind)
		return ""
	}
	p.next()
	return text
}

func (p *sqlParser) unexpected(wanted string) {
	if p.tok.kind == sqlTokenEnd {
		p.fail("the expression ends, where a %s should stand", wanted)
	} else {
		p.fail("%s, where a %s should stand", quoted(p.tok.text), wanted)
	}
}

// emit writes an instruction that leaves grown more values on the stack than it finds.
func (p *sqlParser) emit(op sqlOp, arg int32, grown int) {
	p.f.code = append(p.f.code, sqlInstr{op: op, arg: arg})
	p.stack += grown
	p.f.stack = max(p.f.stack, p.stack)
}

// enter goes one level deeper; false when that is too deep.
func (p *sqlParser) enter() bool {
	if p.depth++; p.depth > maxSQLDepth {
		p.fail("parentheses and prefixes nest deeper than %d", maxSQLDepth)
		return false
	}
	return true
}

// asCondition makes a condition of an operand whose code ends here. Apache: SelectorParser.asBooleanExpression.
func (p *sqlParser) asCondition(o sqlOperand) {
	switch {
	case o.class == sqlProperty:
		p.emit(sqlBool, 0, 0)
	case o.class == sqlCondition, o.class == sqlConstant && o.value.kind <= sqlBoolean:
	default:
		p.fail("the expression will not result in a boolean value")
	}
}

func (p *sqlParser) or() sqlOperand {
	left := p.and()
	for p.tok.kind == "OR" {
		left = p.join(left, sqlJumpTrue, sqlOr, p.and)
	}
	return left
}

func (p *sqlParser) and() sqlOperand {
	left := p.equality()
	for p.tok.kind == "AND" {
		left = p.join(left, sqlJumpFalse, sqlAnd, p.equality)
	}
	return left
}

// join reads the right side of an AND or OR, over which the left one may jump.
func (p *sqlParser) join(left sqlOperand, jump, join sqlOp, right func() sqlOperand) sqlOperand {
	p.next()
	p.asCondition(left)
	at := len(p.f.code)
	p.emit(jump, 0, 0)
	p.asCondition(right())
	p.emit(join, 0, -1)
	p.f.code[at].arg = int32(len(p.f.code))
	return sqlOperand{class: sqlCondition, start: left.start}
}

func (p *sqlParser) equality() sqlOperand {
	left := p.comparison()
	for {
		switch p.tok.kind {
		case "=", "<>":
			not := p.tok.kind == "<>"
			p.next()
			p.checkEqual(left, p.comparison())
			p.emit(sqlEqual, 0, -1)
			p.not(not)
		case "IS":
			p.next()
			not := p.take("NOT")
			p.expect("NULL")
			p.emit(sqlIsNull, 0, 0)
			p.not(not)
		default:
			return left
		}
		left = sqlOperand{class: sqlCondition, start: left.start}
	}
}

func (p *sqlParser) not(not bool) {
	if not {
		p.emit(sqlNot, 0, 0)
	}
}

// checkEqual refuses what Java does not compare. Apache: ComparisonExpression.checkEqualOperand, checkEqualOperandCompatability.
func (p *sqlParser) checkEqual(l, r sqlOperand) {
	for _, o := range [...]sqlOperand{l, r} {
		if o.class == sqlConstant && o.value.kind == sqlNull {
			p.fail("NULL cannot be compared")
		}
	}
	if l.class == sqlConstant && r.class == sqlConstant && l.value.kind == sqlBoolean && r.value.kind != sqlBoolean {
		p.fail("a boolean cannot be compared with a value of another type")
	}
}

// checkOrder refuses what has no order. Apache: ComparisonExpression.checkLessThanOperand.
func (p *sqlParser) checkOrder(operands ...sqlOperand) {
	for _, o := range operands {
		if o.class == sqlCondition || o.class == sqlConstant && !o.value.isNumber() {
			p.fail("only numbers can be ordered")
		}
	}
}

var sqlOrders = map[string]sqlOp{">": sqlGreater, ">=": sqlGreaterEq, "<": sqlLess, "<=": sqlLessEq}

// sqlForms are the operators that may be negated, plain and negated.
var sqlForms = map[string][2]sqlOp{
	"CONTAINS": {sqlContains, sqlNotContains}, "STARTSWITH": {sqlStarts, sqlNotStarts}, "ENDSWITH": {sqlEnds, sqlNotEnds},
	"BETWEEN": {sqlBetween, sqlNotBetween}, "IN": {sqlIn, sqlNotIn},
}

func (p *sqlParser) comparison() sqlOperand {
	left := p.unary()
	for {
		if op, ok := sqlOrders[p.tok.kind]; ok {
			p.next()
			p.checkOrder(left, p.unary())
			p.emit(op, 0, -1)
		} else if form, not, ok := p.form(); ok {
			p.negatable(left, form, not)
		} else {
			return left
		}
		left = sqlOperand{class: sqlCondition, start: left.start}
	}
}

// form passes over the word of a negatable operator, and over the NOT before it.
func (p *sqlParser) form() (form string, not, ok bool) {
	if not = p.take("NOT"); !not && sqlForms[p.tok.kind] == [2]sqlOp{} {
		return "", false, false
	}
	form = p.tok.kind
	if _, ok = sqlForms[form]; !ok {
		p.unexpected("CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN")
		return "", false, false
	}
	p.next()
	return form, not, true
}

// negatable reads the rest of a comparison with an operator of sqlForms.
func (p *sqlParser) negatable(left sqlOperand, form string, not bool) {
	op := sqlForms[form][0]
	if not {
		op = sqlForms[form][1]
	}
	switch form {
	case "BETWEEN":
		p.between(left, op)
	case "IN":
		p.in(left, op)
	default:
		search := p.stringLiteral()
		if search == "" { // false, whatever the left side is
			p.f.code = p.f.code[:left.start]
			p.emit(sqlConst, p.constant(sqlTruth(false)), 0)
			return
		}
		p.emit(op, p.textIndex(search), 0)
	}
}

func (p *sqlParser) between(left sqlOperand, op sqlOp) {
	low := p.unary()
	p.expect("AND")
	high := p.unary()
	p.checkOrder(left, low, high)
	if op == sqlBetween && low.class == sqlConstant && high.class == sqlConstant && p.err == nil {
		if c, _ := (&sqlEval{f: p.f}).compare(high.value, low.value); c < 0 {
			p.fail("the bounds of BETWEEN are in the wrong order")
		}
	}
	p.emit(op, 0, -2)
}

func (p *sqlParser) in(left sqlOperand, op sqlOp) {
	p.expect("(")
	list := []string{p.stringLiteral()}
	for p.take(",") {
		list = append(list, p.stringLiteral())
	}
	p.expect(")")
	if left.class != sqlProperty {
		p.fail("IN needs a property on its left side")
	}
	p.f.sets = append(p.f.sets, newSQLSet(list))
	p.emit(op, int32(len(p.f.sets)-1), 0)
}

func (p *sqlParser) unary() sqlOperand {
	start := len(p.f.code)
	if !p.enter() {
		return sqlOperand{start: start}
	}
	defer func() { p.depth-- }()
	switch {
	case p.take("+"):
		return p.unary()
	case p.take("-"):
		o := p.unary()
		if o.class == sqlConstant && o.value.isNumber() {
			p.f.consts[len(p.f.consts)-1] = o.value.negated()
		} else {
			p.emit(sqlNegate, 0, 0)
		}
		return sqlOperand{class: sqlOther, start: start}
	case p.take("NOT"):
		p.asCondition(p.unary())
		p.emit(sqlNot, 0, 0)
		return sqlOperand{class: sqlCondition, start: start}
	}
	return p.primary()
}

func (p *sqlParser) primary() sqlOperand {
	text := p.tok.text
	switch p.tok.kind {
	case "(":
		p.next()
		o := p.or()
		p.expect(")")
		return o
	case sqlTokenName:
		p.next()
		start := len(p.f.code)
		p.emit(sqlProp, p.nameIndex(text), 1)
		return sqlOperand{class: sqlProperty, start: start}
	case sqlTokenString:
		return p.literal(sqlValue{kind: sqlText, ref: ^p.textIndex(p.stringLiteral())})
	case sqlTokenInt, sqlTokenFloat:
		return p.literal(p.number())
	case "TRUE", "FALSE":
		p.next()
		return p.literal(sqlTruth(strings.EqualFold(text, "TRUE")))
	case "NULL":
		p.next()
		return p.literal(sqlValue{})
	}
	p.unexpected("value")
	return sqlOperand{start: len(p.f.code)}
}

func (p *sqlParser) literal(v sqlValue) sqlOperand {
	start := len(p.f.code)
	p.emit(sqlConst, p.constant(v), 1)
	return sqlOperand{class: sqlConstant, value: v, start: start}
}

// number reads a number. Java holds an integer in 32 bits where it fits; 0.0 is out of its range of floats. Apache:
// ConstantExpression.createFromDecimal, createFloat.
func (p *sqlParser) number() sqlValue {
	t := p.tok
	if t.kind == sqlTokenInt {
		n, err := strconv.ParseInt(strings.TrimRight(t.text, "lL"), 10, 64)
		if err != nil {
			p.fail("%s is no number of 64 bits", quoted(t.text))
		}
		p.next()
		if n > math.MaxInt32 {
			return sqlValue{kind: sqlLong, num: n}
		}
		return sqlValue{kind: sqlInteger, num: n}
	}
	f, err := strconv.ParseFloat(t.text, 64)
	if err != nil || f < math.SmallestNonzeroFloat64 {
		p.fail("%s is too large or too small", quoted(t.text))
	}
	p.next()
	return sqlFloat(f)
}

func (p *sqlParser) stringLiteral() string {
	text := p.expect(sqlTokenString)
	if p.err != nil || len(text) < 2 {
		return ""
	}
	return strings.ReplaceAll(text[1:len(text)-1], "''", "'")
}

func (p *sqlParser) constant(v sqlValue) int32 {
	p.f.consts = append(p.f.consts, v)
	return int32(len(p.f.consts) - 1)
}

func (p *sqlParser) textIndex(text string) int32 {
	p.f.texts = append(p.f.texts, text)
	return int32(len(p.f.texts) - 1)
}

func (p *sqlParser) nameIndex(name string) int32 {
	i, ok := p.names[name]
	if !ok {
		i = int32(len(p.f.names))
		p.names[name] = i
		p.f.names = append(p.f.names, name)
	}
	return i
}
