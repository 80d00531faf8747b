package codec

import "unicode/utf8"

// JavaHash returns String.hashCode of the UTF-8 text s: over UTF-16 units, malformed bytes counted as Java decodes them.
func JavaHash(s []byte) int32 { return javaHash(0, s) }

// javaHash goes on with the hash h of what stands before s.
func javaHash[T string | []byte](h int32, s T) int32 {
	for i := 0; i < len(s); {
		if i+4 <= len(s) { // four at once, so that no multiplication waits for the one before
			a, b, c, d := s[i], s[i+1], s[i+2], s[i+3]
			if a|b|c|d < utf8.RuneSelf {
				h = 31*31*31*31*h + (31*31*31*int32(a) + 31*31*int32(b) + (31*int32(c) + int32(d)))
				i += 4
				continue
			}
		}
		if c := s[i]; c < utf8.RuneSelf {
			h = 31*h + int32(c)
			i++
			continue
		}
		r, n := decodeJavaRune([]byte(s[i:min(i+4, len(s))]))
		i += n
		if r > 0xFFFF {
			r -= 0x10000
			h = 31*h + (0xD800 + r>>10)
			r = 0xDC00 + r&0x3FF
		}
		h = 31*h + r
	}
	return h
}

// TagsCode returns the tag code of a TAGS value as queue entries and subscriptions hold it; 0 for none. Apache:
// MessageExtBrokerInner.tagsString2tagsCode.
func TagsCode(tags []byte) int64 { return int64(JavaHash(tags)) }

// IndexKeyHash returns the hash of a key in the index file, never negative. Apache: IndexFile.indexKeyHashMethod.
func IndexKeyHash(topic string, key []byte) int32 {
	return nonNegative(javaHash(javaHash(javaHash(0, topic), "#"), key))
}

// nonNegative is Math.abs, but 0 for the smallest int32, which has no positive twin.
func nonNegative(h int32) int32 {
	if h < 0 {
		return max(-h, 0)
	}
	return h
}

// decodeJavaRune reads the first character of b, which is not ASCII and holds the next 4 bytes of the text if there are
// as many. What is malformed becomes U+FFFD, over as many bytes as Java takes for it: every proper beginning of a
// character counts as one, a surrogate written in three bytes as one of three bytes.
func decodeJavaRune(b []byte) (r rune, n int) {
	r, n = utf8.DecodeRune(b)
	if r != utf8.RuneError || n == 3 {
		return r, n
	}
	switch c := b[0]; {
	case c >= 0xE0 && c <= 0xEF:
		return utf8.RuneError, malformed3(b)
	case c >= 0xF0 && c <= 0xF4:
		return utf8.RuneError, malformed4(b)
	}
	return utf8.RuneError, 1
}

func malformed3(b []byte) int {
	switch {
	case len(b) < 2 || b[1]&0xC0 != 0x80 || b[0] == 0xE0 && b[1] < 0xA0:
		return 1
	case len(b) < 3 || b[2]&0xC0 != 0x80:
		return 2
	}
	return 3
}

func malformed4(b []byte) int {
	switch {
	case len(b) < 2 || b[1]&0xC0 != 0x80 || b[0] == 0xF0 && b[1] < 0x90 || b[0] == 0xF4 && b[1] >= 0x90:
		return 1
	case len(b) < 3 || b[2]&0xC0 != 0x80:
		return 2
	}
	return 3
}
