package codec

import (
	"strconv"
	"unicode/utf8"
)

// appendJSONHeader appends c's header as one JSON object without white space, keys in Java's order.
func appendJSONHeader(dst []byte, c *Command) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(c.Code), 10)
	if c.Header != nil || len(c.Extra) > 0 {
		before := len(dst)
		dst = append(dst, `,"extFields":{`...)
		var count int
		if dst, count = appendFields(dst, c, false); count == 0 {
			dst = dst[:before]
		} else {
			dst = append(dst, '}')
		}
	}
	dst = append(dst, `,"flag":`...)
	dst = strconv.AppendInt(dst, int64(c.Flag), 10)
	dst = append(dst, `,"language":"`...)
	dst = append(dst, c.Language.String()...)
	dst = append(dst, `","opaque":`...)
	dst = strconv.AppendInt(dst, int64(c.Opaque), 10)
	if c.Remark != "" {
		dst = append(dst, `,"remark":"`...)
		dst = appendJSONText(dst, c.Remark)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"serializeTypeCurrentRPC":"JSON","version":`...)
	dst = strconv.AppendInt(dst, int64(c.Version), 10)
	return append(dst, '}')
}

// appendJSONText appends s as the inside of a JSON string. Bytes that are no UTF-8 become U+FFFD.
func appendJSONText[T string | []byte](dst []byte, s T) []byte {
	if plainText(s) {
		return append(dst, s...)
	}
	const hex = "0123456789abcdef"
	for i := 0; i < len(s); {
		ch := s[i]
		switch {
		case ch >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		case ch == '"' || ch == '\\':
			dst = append(dst, '\\', ch)
		case ch == '\n':
			dst = append(dst, `\n`...)
		case ch == '\r':
			dst = append(dst, `\r`...)
		case ch == '\t':
			dst = append(dst, `\t`...)
		case ch < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
		default:
			dst = append(dst, ch)
		}
		i++
	}
	return dst
}

// plainText reports whether s is ASCII without anything that JSON escapes.
func plainText[T string | []byte](s T) bool {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash := w^(swarOnes*'"'), w^(swarOnes*'\\')
		if (w|(w-swarOnes*' ')&^w|(quote-swarOnes)&^quote|(slash-swarOnes)&^slash)&swarHighs != 0 {
			return false
		}
	}
	for ; i < len(s); i++ {
		if ch := s[i]; ch < ' ' || ch >= utf8.RuneSelf || ch == '"' || ch == '\\' {
			return false
		}
	}
	return true
}
