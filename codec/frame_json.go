package codec

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// maxHeaderDepth bounds the nesting of a value that is skipped.
const maxHeaderDepth = 64

// Masks to look at eight bytes at once.
const (
	swarOnes  = 0x0101010101010101
	swarHighs = 0x8080808080808080
)

// textEnd returns the position of the first quote or backslash in b from pos on, or len(b).
func textEnd(b []byte, pos int) int {
	for pos+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[pos:])
		quote, slash := w^(swarOnes*'"'), w^(swarOnes*'\\')
		// A byte that is zero borrows, so its high bit is set; the lowest such bit is never a false one.
		if hit := ((quote-swarOnes)&^quote | (slash-swarOnes)&^slash) & swarHighs; hit != 0 {
			return pos + bits.TrailingZeros64(hit)>>3
		}
		pos += 8
	}
	for pos < len(b) && b[pos] != '"' && b[pos] != '\\' {
		pos++
	}
	return pos
}

// skipSpace returns the position of the first byte in b from pos on that is no white space.
func skipSpace(b []byte, pos int) int {
	for pos < len(b) && (b[pos] == ' ' || b[pos] == '\n' || b[pos] == '\t' || b[pos] == '\r') {
		pos++
	}
	return pos
}

func jsonError(pos int) error { return fmt.Errorf("%w: bad JSON header at byte %d", ErrFrame, pos) }

// jsonText is a string of the header: where its text lies (see fieldRef) and the position after its closing quote.
type jsonText struct {
	pos, n uint32
	next   int
}

// readText reads the string whose opening quote is at b[pos]. Text with escapes goes into c.scratch.
func readText(b []byte, pos int, c *Command) (t jsonText, ok bool) {
	start := pos + 1
	if pos+2 < len(b) && b[pos+2] == '"' && b[start] != '\\' && b[start] != '"' { // one character, as most keys of a send
		return jsonText{pos: uint32(start), n: 1, next: pos + 3}, true
	}
	end := textEnd(b, start)
	if end >= len(b) {
		return t, false
	}
	if b[end] == '"' {
		return jsonText{pos: uint32(start), n: uint32(end - start), next: end + 1}, true
	}
	return readEscaped(b, start, end, c)
}

// readEscaped is readText for a string whose first escape is at b[slash].
func readEscaped(b []byte, start, slash int, c *Command) (t jsonText, ok bool) {
	if cap(c.scratch) == 0 {
		c.scratch = make([]byte, 0, max(512, len(b)-start))
	}
	out := c.scratch
	from := len(out)
	for {
		out = append(out, b[start:slash]...)
		if slash >= len(b) || b[slash] == '"' {
			break
		}
		if slash+6 <= len(b) && string(b[slash:slash+5]) == `\u000` && b[slash+5]-'0' < 10 { // what separates properties
			out = append(out, b[slash+5]-'0')
			start = slash + 6
		} else if out, start, ok = appendUnescaped(out, b, slash); !ok {
			return t, false
		}
		slash = textEnd(b, start)
	}
	c.scratch = out
	if slash >= len(b) {
		return t, false
	}
	return jsonText{pos: uint32(from) | inScratch, n: uint32(len(out) - from), next: slash + 1}, true
}

// appendUnescaped appends what the escape at b[pos] stands for and returns the position after it.
func appendUnescaped(out, b []byte, pos int) (grown []byte, next int, ok bool) {
	if pos+1 >= len(b) {
		return out, pos, false
	}
	switch e := b[pos+1]; e {
	case 'u':
		unit, ok := hexUnit(b, pos+2)
		if !ok {
			return out, pos, false
		}
		next = pos + 6
		if unit < utf8.RuneSelf {
			return append(out, byte(unit)), next, true
		}
		r := rune(unit)
		if utf16.IsSurrogate(r) {
			low, ok := rune(0), false
			if next+1 < len(b) && b[next] == '\\' && b[next+1] == 'u' {
				var unit uint16
				unit, ok = hexUnit(b, next+2)
				low = rune(unit)
			}
			if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
				next += 6
			}
		}
		return utf8.AppendRune(out, r), next, true
	case '"', '\\', '/', '\'':
		return append(out, e), pos + 2, true
	case 'b':
		return append(out, '\b'), pos + 2, true
	case 'f':
		return append(out, '\f'), pos + 2, true
	case 'n':
		return append(out, '\n'), pos + 2, true
	case 'r':
		return append(out, '\r'), pos + 2, true
	case 't':
		return append(out, '\t'), pos + 2, true
	case 'v':
		return append(out, '\v'), pos + 2, true
	}
	return out, pos, false
}

// hexUnit reads four hex digits at b[pos].
func hexUnit(b []byte, pos int) (unit uint16, ok bool) {
	if pos+4 > len(b) {
		return 0, false
	}
	for _, d := range b[pos : pos+4] {
		switch {
		case d-'0' < 10:
			d -= '0'
		case d|0x20-'a' < 6:
			d = d | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		unit = unit<<4 | uint16(d)
	}
	return unit, true
}

// parseJSONHeader reads a frame's JSON header into c, in one pass.
func parseJSONHeader(b []byte, c *Command) error {
	pos := skipSpace(b, 0)
	if pos >= len(b) || b[pos] != '{' {
		return jsonError(pos)
	}
	pos = skipSpace(b, pos+1)
	if pos < len(b) && b[pos] == '}' {
		return endOfHeader(b, pos+1)
	}
	for {
		next, err := parsePlainMember(b, pos, c)
		if next == pos {
			next, err = parseMember(b, pos, c)
		}
		if err != nil {
			return err
		}
		if pos = next; pos < len(b) && b[pos] != ',' {
			pos = skipSpace(b, pos)
		}
		if pos >= len(b) {
			return jsonError(pos)
		}
		if b[pos] == '}' {
			return endOfHeader(b, pos+1)
		}
		if b[pos] != ',' {
			return jsonError(pos)
		}
		pos = skipSpace(b, pos+1)
	}
}

// parsePlainMember is parseMember for the members of an ordinary header, written without white space. It returns pos for any
// other.
func parsePlainMember(b []byte, pos int, c *Command) (next int, err error) {
	const longest = len(`"serializeTypeCurrentRPC":"JSON"`)
	if pos+longest > len(b) {
		return pos, nil
	}
	member := b[pos : pos+longest]
	switch member[1] {
	case 'c':
		if string(member[:7]) == `"code":` {
			return readInt32(b, skipSpace(b, pos+7), c, &c.Code)
		}
	case 'e':
		if string(member[:12]) == `"extFields":` {
			return parseExtFields(b, skipSpace(b, pos+12), c)
		}
	case 'f':
		if string(member[:7]) == `"flag":` {
			return readInt32(b, skipSpace(b, pos+7), c, &c.Flag)
		}
	case 'l':
		if string(member[:17]) == `"language":"JAVA"` {
			c.Language = LanguageJava
			return pos + 17, nil
		}
	case 'o':
		if string(member[:9]) == `"opaque":` {
			return readInt32(b, skipSpace(b, pos+9), c, &c.Opaque)
		}
	case 's':
		if string(member) == `"serializeTypeCurrentRPC":"JSON"` {
			return pos + longest, nil
		}
	case 'v':
		if string(member[:10]) == `"version":` {
			return readInt32(b, skipSpace(b, pos+10), c, &c.Version)
		}
	}
	return pos, nil
}

// parseMember reads the member of the header's object that begins at b[pos] and returns the position after it.
func parseMember(b []byte, pos int, c *Command) (next int, err error) {
	if pos >= len(b) || b[pos] != '"' {
		return pos, jsonError(pos)
	}
	key, ok := readText(b, pos, c)
	if !ok {
		return pos, jsonError(pos)
	}
	if pos = skipSpace(b, key.next); pos >= len(b) || b[pos] != ':' {
		return pos, jsonError(pos)
	}
	return parseMemberValue(b, skipSpace(b, pos+1), c, c.at(key.pos, key.n))
}

// endOfHeader checks that nothing follows the header's object.
func endOfHeader(b []byte, pos int) error {
	if pos = skipSpace(b, pos); pos != len(b) {
		return jsonError(pos)
	}
	return nil
}

// parseMemberValue reads the value at b[pos] of one member and returns the position after it.
func parseMemberValue(b []byte, pos int, c *Command, key []byte) (next int, err error) {
	switch string(key) {
	case "code":
		return readInt32(b, pos, c, &c.Code)
	case "flag":
		return readInt32(b, pos, c, &c.Flag)
	case "opaque":
		return readInt32(b, pos, c, &c.Opaque)
	case "version":
		return readInt32(b, pos, c, &c.Version)
	case "extFields":
		return parseExtFields(b, pos, c)
	case "language":
		text, next, err := readScalar(b, pos, c)
		c.Language = languageByName(text)
		return next, err
	case "remark":
		text, next, err := readScalar(b, pos, c)
		c.Remark = string(text)
		return next, err
	}
	return skipValue(b, pos)
}

// readScalar reads a string, or anything else as its text; null gives nil.
func readScalar(b []byte, pos int, c *Command) (text []byte, next int, err error) {
	if pos < len(b) && b[pos] == '"' {
		t, ok := readText(b, pos, c)
		if !ok {
			return nil, pos, jsonError(pos)
		}
		return c.at(t.pos, t.n), t.next, nil
	}
	if next, err = skipValue(b, pos); err != nil {
		return nil, pos, err
	}
	if text = b[pos:next]; string(text) == "null" {
		text = nil
	}
	return text, next, nil
}

// readInt32 reads a number, which may stand in quotes; null leaves *to as it is.
func readInt32(b []byte, pos int, c *Command, to *int32) (next int, err error) {
	next = pos
	for next < len(b) && (b[next]-'0' < 10 || b[next] == '-') {
		next++
	}
	text := b[pos:next]
	if next == pos || next == len(b) || b[next] != ',' { // no plain number, or the last member
		if text, next, err = readScalar(b, pos, c); err != nil || text == nil {
			return next, err
		}
	}
	n, ok := parseInt32(text)
	if !ok {
		return pos, jsonError(pos)
	}
	*to = n
	return next, nil
}

// parseExtFields reads the object of extFields at b[pos], or null, and returns the position after it.
func parseExtFields(b []byte, pos int, c *Command) (next int, err error) {
	if pos >= len(b) || b[pos] != '{' {
		text, next, err := readScalar(b, pos, c)
		if err == nil && text != nil {
			err = jsonError(pos)
		}
		return next, err
	}
	c.index = c.index[:0]
	if pos = skipSpace(b, pos+1); pos < len(b) && b[pos] == '}' {
		return pos + 1, nil
	}
	for {
		pos = parsePlainFields(b, pos, c)
		if pos, err = parseExtField(b, pos, c); err != nil {
			return pos, err
		}
		if pos < len(b) && b[pos] != ',' {
			pos = skipSpace(b, pos)
		}
		if pos >= len(b) {
			return pos, jsonError(pos)
		}
		if b[pos] == '}' {
			return pos + 1, nil
		}
		if b[pos] != ',' {
			return pos, jsonError(pos)
		}
		if pos++; pos < len(b) && b[pos] != '"' {
			pos = skipSpace(b, pos)
		}
	}
}

// parseExtField reads one extField, whose key is at b[pos], and returns the position after it.
func parseExtField(b []byte, pos int, c *Command) (next int, err error) {
	if pos >= len(b) || b[pos] != '"' {
		return pos, jsonError(pos)
	}
	key, ok := readText(b, pos, c)
	if !ok {
		return pos, jsonError(pos)
	}
	pos = key.next
	if pos < len(b) && b[pos] != ':' {
		pos = skipSpace(b, pos)
	}
	if pos >= len(b) || b[pos] != ':' {
		return pos, jsonError(pos)
	}
	if pos++; pos < len(b) && b[pos] != '"' {
		pos = skipSpace(b, pos)
	}
	if pos >= len(b) {
		return pos, jsonError(pos)
	}
	return parseExtValue(b, pos, c, key)
}

// parsePlainFields is parseExtFields for as long as the fields are written without white space, keys and values without escapes.
// It returns the position of the first field, or of the end, that it leaves to parseExtFields.
func parsePlainFields(b []byte, pos int, c *Command) (next int) {
	for pos+4 < len(b) && b[pos] == '"' {
		keyEnd := pos + 2
		if b[keyEnd] != '"' || b[pos+1] == '\\' || b[pos+1] == '"' {
			keyEnd = textEnd(b, pos+1)
		}
		if keyEnd+3 >= len(b) || b[keyEnd] != '"' || b[keyEnd+1] != ':' || b[keyEnd+2] != '"' {
			return pos
		}
		value := keyEnd + 3
		end := textEnd(b, value)
		if end+1 >= len(b) || b[end] != '"' || b[end+1] != ',' || len(c.index) == cap(c.index) {
			return pos
		}
		c.index = append(c.index, fieldRef{uint32(pos + 1), uint32(keyEnd - pos - 1), uint32(value), uint32(end - value)})
		pos = end + 2
	}
	return pos
}

// parseExtValue reads the value at b[pos] of one extField and notes the field. A null value is no field; a value that is no
// string counts as its text.
func parseExtValue(b []byte, pos int, c *Command, key jsonText) (next int, err error) {
	var value jsonText
	if b[pos] == '"' {
		var ok bool
		if value, ok = readText(b, pos, c); !ok {
			return pos, jsonError(pos)
		}
	} else {
		if next, err = skipValue(b, pos); err != nil {
			return pos, err
		}
		if string(b[pos:next]) == "null" {
			return next, nil
		}
		value = jsonText{pos: uint32(pos), n: uint32(next - pos), next: next}
	}
	if !c.addField(fieldRef{keyPos: key.pos, keyLen: key.n, valuePos: value.pos, valueLen: value.n}) {
		return pos, fmt.Errorf("%w: more than %d extFields", ErrFrame, maxFields)
	}
	return value.next, nil
}

// addField notes one extField and reports whether there was room.
func (c *Command) addField(f fieldRef) bool {
	if len(c.index) == cap(c.index) {
		if len(c.index) >= maxFields {
			return false
		}
		grown := make([]fieldRef, len(c.index), min(max(24, 2*cap(c.index)), maxFields))
		copy(grown, c.index)
		c.index = grown
	}
	c.index = append(c.index, f)
	return true
}

// skipValue returns the position after the JSON value at b[pos], without looking closer than needed to find its end.
func skipValue(b []byte, pos int) (next int, err error) {
	depth := 0
	for start := pos; pos < len(b); {
		switch b[pos] {
		case '"':
			if pos = skipText(b, pos); pos < 0 {
				return start, jsonError(start)
			}
		case '{', '[':
			if depth++; depth > maxHeaderDepth {
				return pos, jsonError(pos)
			}
			pos++
			continue
		case '}', ']':
			if depth--; depth < 0 {
				return pos, jsonError(pos)
			}
			pos++
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return pos, jsonError(pos)
			}
			pos++
			continue
		default:
			for pos < len(b) && !endsScalar(b[pos]) {
				pos++
			}
		}
		if depth == 0 {
			return pos, nil
		}
	}
	return pos, jsonError(pos)
}

// skipText returns the position after the string whose opening quote is at b[pos], or -1.
func skipText(b []byte, pos int) int {
	for pos = textEnd(b, pos+1); pos < len(b); pos = textEnd(b, pos+2) {
		if b[pos] == '"' {
			return pos + 1
		}
		if pos+2 > len(b) {
			break
		}
	}
	return -1
}

func endsScalar(ch byte) bool {
	switch ch {
	case ',', ':', ' ', '\t', '\n', '\r', '{', '}', '[', ']', '"':
		return true
	}
	return false
}
