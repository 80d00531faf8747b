package store

import (
	"encoding/binary"
	"errors"
	"strings"
	"unsafe"

	"github.com/apogee-mq/apogee/codec"
)

// ErrFilter says that a filter expression cannot be compiled.
var ErrFilter = errors.New("bad filter expression")

const (
	// MaxFilterExpressionBytes is the longest expression that CompileSQL takes. Java has no limit of its own.
	MaxFilterExpressionBytes = 64 << 10
	// maxSQLDepth is how deep parentheses and prefixes may nest; Java ends with its thread's stack, which is no deeper by much.
	maxSQLDepth = 500
	// maxSQLStack is enough for that: a level keeps at most the left sides of an OR, an AND, an equality and a comparison, and the
	// lower bound of a BETWEEN.
	maxSQLStack   = 5*maxSQLDepth + 5
	smallSQLStack = 16
	// sqlSlots is the number of property names that are looked up together.
	sqlSlots = 16
)

// SQLFilter is a compiled SQL92 expression over the properties of a message. It does not change; all may use it at once.
//
// It is code for a machine with a stack of values. AND and OR jump over their right side where the left one decides, since in
// Java an error there would not happen. Apache: SelectorParser and the package filter.expression.
type SQLFilter struct {
	code   []sqlInstr
	consts []sqlValue
	texts  []string // of the constants
	sets   []sqlSet // of IN
	names  []string // of the properties
	stack  int      // the most values that lie on the stack
}

// sqlInstr is one instruction; most take their operands from the stack.
type sqlInstr struct {
	op  sqlOp
	arg int32
}

type sqlOp uint8

const (
	sqlProp       sqlOp = iota // push the property names[arg]
	sqlConst                   // push consts[arg]
	sqlBool                    // what is no boolean becomes false, null stays
	sqlNot                     // Java's null stays null in all of these
	sqlNegate                  // of no number: null
	sqlIsNull                  // never null
	sqlEqual                   // null when only the left side is
	sqlGreater                 //
	sqlGreaterEq               //
	sqlLess                    //
	sqlLessEq                  //
	sqlBetween                 // value, low, high
	sqlNotBetween              //
	sqlIn                      // sets[arg]
	sqlNotIn                   //
	sqlContains                // texts[arg]; false for what is no text, also the negated forms
	sqlNotContains
	sqlStarts
	sqlNotStarts
	sqlEnds
	sqlNotEnds
	sqlJumpTrue  // to arg, if the top is true
	sqlJumpFalse // to arg, if the top is false
	sqlOr
	sqlAnd
)

type sqlKind uint8

const (
	sqlNull sqlKind = iota
	sqlBoolean
	sqlInteger // 32 bits, as Java's
	sqlLong
	sqlDouble
	sqlText
)

// sqlValue is a value of an expression: num holds a boolean, an integer or a float's bits; ref names a text, a property's by
// its index, a constant's by the complement of its index.
type sqlValue struct {
	num  int64
	ref  int32
	kind sqlKind
}

// sqlSet is the list of an IN; a long one is a map.
type sqlSet struct {
	list  []string
	index map[string]struct{}
}

// maxListedSet is the length up to which the list of an IN is searched one by one.
const maxListedSet = 8

func newSQLSet(list []string) sqlSet {
	if len(list) <= maxListedSet {
		return sqlSet{list: list}
	}
	set := sqlSet{index: make(map[string]struct{}, len(list))}
	for _, text := range list {
		set.index[text] = struct{}{}
	}
	return set
}

func (s *sqlSet) has(text string) bool {
	if s.index != nil {
		_, ok := s.index[text]
		return ok
	}
	for _, t := range s.list {
		if t == text {
			return true
		}
	}
	return false
}

// Match reports whether the properties text of a message makes the expression true: false, null and what Java throws are no
// match. It does not allocate. Apache: ExpressionMessageFilter.isMatchedByCommitLog.
func (f *SQLFilter) Match(props []byte) bool {
	e := sqlEval{f: f, props: props}
	e.fill()
	v, ok := e.run()
	return ok && v.kind == sqlBoolean && v.num != 0
}

// cost is about the number of steps that Match takes.
func (f *SQLFilter) cost() int { return len(f.code) + 8 }

// matchRecord is Match for a stored message; a record that is none has no properties.
func (f *SQLFilter) matchRecord(record []byte) bool { return f.Match(recordProperties(record)) }

// recordProperties returns the properties text of a stored message, which is the end of it.
func recordProperties(b []byte) []byte {
	if len(b) < codec.PosBornHost {
		return nil
	}
	at := codec.PosBody(int32(binary.BigEndian.Uint32(b[codec.PosSysFlag:])))
	if at+4 > len(b) {
		return nil
	}
	at += 4 + int(binary.BigEndian.Uint32(b[at:]))
	topicLenBytes := 1
	if binary.BigEndian.Uint32(b[codec.PosMagic:]) == codec.MagicV2 {
		topicLenBytes = 2
	}
	if at < 0 || at+topicLenBytes > len(b) {
		return nil
	}
	topicLen := int(b[at])
	if topicLenBytes == 2 {
		topicLen = int(binary.BigEndian.Uint16(b[at:]))
	}
	at += topicLenBytes + topicLen
	if at+2 > len(b) {
		return nil
	}
	n := int(binary.BigEndian.Uint16(b[at:]))
	if at += 2; at+n > len(b) {
		return nil
	}
	return b[at : at+n]
}

// sqlEval is one evaluation, on its caller's stack.
type sqlEval struct {
	f     *SQLFilter
	props []byte
	slots [sqlSlots][]byte // values of the first names, nil where there is none
}

// fill looks up the properties, of several of one name the last.
func (e *sqlEval) fill() {
	names := e.f.names[:min(len(e.f.names), sqlSlots)]
	for it := codec.NewPropertyIter(e.props); it.Next(); {
		for i, name := range names {
			if len(name) == len(it.Key) && name == string(it.Key) {
				e.slots[i] = it.Value
				break
			}
		}
	}
}

// property returns a property's value, null when the message has none.
func (e *sqlEval) property(i int32) sqlValue {
	if i < sqlSlots {
		if e.slots[i] == nil {
			return sqlValue{}
		}
	} else if _, ok := codec.Property(e.props, e.f.names[i]); !ok {
		return sqlValue{}
	}
	return sqlValue{kind: sqlText, ref: i}
}

// text returns the text of a value of kind sqlText; a property's aliases the message.
func (e *sqlEval) text(v sqlValue) string {
	switch {
	case v.ref < 0:
		return e.f.texts[^v.ref]
	case v.ref < sqlSlots:
		return aliasText(e.slots[v.ref])
	}
	value, _ := codec.Property(e.props, e.f.names[v.ref])
	return aliasText(value)
}

// aliasText is a string of the same bytes; it lives no longer than they do.
func aliasText(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// run evaluates the expression; ok is false where Java throws.
func (e *sqlEval) run() (v sqlValue, ok bool) {
	if e.f.stack <= smallSQLStack {
		var stack [smallSQLStack]sqlValue
		return e.loop(stack[:])
	}
	return e.runDeep()
}

func (e *sqlEval) runDeep() (v sqlValue, ok bool) {
	var stack [maxSQLStack]sqlValue
	return e.loop(stack[:])
}

// loop runs the code on a stack that is large enough.
func (e *sqlEval) loop(stack []sqlValue) (v sqlValue, ok bool) {
	code := e.f.code
	top := -1
	for pc := 0; pc < len(code); pc++ {
		in := code[pc]
		switch in.op {
		case sqlProp:
			top++
			stack[top] = e.property(in.arg)
		case sqlConst:
			top++
			stack[top] = e.f.consts[in.arg]
		case sqlJumpTrue, sqlJumpFalse:
			if v := stack[top]; v.kind == sqlBoolean && (v.num != 0) == (in.op == sqlJumpTrue) {
				pc = int(in.arg) - 1
			}
		case sqlOr, sqlAnd:
			top--
			stack[top] = sqlJoin(in.op == sqlOr, stack[top], stack[top+1])
		case sqlEqual, sqlGreater, sqlGreaterEq, sqlLess, sqlLessEq:
			top--
			if stack[top], ok = e.compareBy(in.op, stack[top], stack[top+1]); !ok {
				return sqlValue{}, false
			}
		case sqlBetween, sqlNotBetween:
			top -= 2
			if stack[top], ok = e.between(in.op, stack[top], stack[top+1], stack[top+2]); !ok {
				return sqlValue{}, false
			}
		default:
			stack[top] = e.unary(in, stack[top])
		}
	}
	return stack[top], true
}

// unary is what an instruction with one operand makes of it.
func (e *sqlEval) unary(in sqlInstr, v sqlValue) sqlValue {
	switch in.op {
	case sqlIsNull:
		return sqlTruth(v.kind == sqlNull)
	case sqlIn, sqlNotIn:
		if v.kind != sqlText {
			return sqlValue{}
		}
		return sqlTruth(e.f.sets[in.arg].has(e.text(v)) == (in.op == sqlIn))
	case sqlContains, sqlNotContains, sqlStarts, sqlNotStarts, sqlEnds, sqlNotEnds:
		return sqlTruth(v.kind == sqlText && sqlSearch(in.op, e.text(v), e.f.texts[in.arg]))
	}
	if v.kind == sqlNull {
		return v
	}
	switch in.op {
	case sqlBool:
		return sqlTruth(v.kind == sqlBoolean && v.num != 0)
	case sqlNot:
		return sqlTruth(v.num == 0)
	default: // sqlNegate
		return v.negated()
	}
}

func sqlSearch(op sqlOp, text, search string) bool {
	switch op {
	case sqlContains, sqlNotContains:
		return strings.Contains(text, search) == (op == sqlContains)
	case sqlStarts, sqlNotStarts:
		return strings.HasPrefix(text, search) == (op == sqlStarts)
	default:
		return strings.HasSuffix(text, search) == (op == sqlEnds)
	}
}

// sqlJoin is AND or OR of two booleans or nulls.
func sqlJoin(or bool, l, r sqlValue) sqlValue {
	for _, v := range [...]sqlValue{l, r} {
		if v.kind == sqlBoolean && (v.num != 0) == or {
			return sqlTruth(or)
		}
	}
	if l.kind == sqlNull || r.kind == sqlNull {
		return sqlValue{}
	}
	return sqlTruth(!or)
}

// between is value >= low AND value <= high, or value < low OR value > high. The second comparison is not made where the first
// one decides.
func (e *sqlEval) between(op sqlOp, v, low, high sqlValue) (sqlValue, bool) {
	first, second, or := sqlGreaterEq, sqlLessEq, false
	if op == sqlNotBetween {
		first, second, or = sqlLess, sqlGreater, true
	}
	l, ok := e.compareBy(first, v, low)
	if !ok || l.kind == sqlBoolean && (l.num != 0) == or {
		return l, ok
	}
	r, ok := e.compareBy(second, v, high)
	if !ok {
		return r, false
	}
	return sqlJoin(or, l, r), true
}
