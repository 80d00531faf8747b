package codec

import "math"

// maxDigits is the length of the longest int64.
const maxDigits = 19

// parseInt64 reads a decimal number as Java's Long.parseLong does: an optional sign, digits, nothing else.
func parseInt64(b []byte) (n int64, ok bool) {
	negative := false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		negative = b[0] == '-'
		b = b[1:]
	}
	for len(b) > maxDigits && b[0] == '0' {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > maxDigits {
		return 0, false
	}
	var u uint64
	for _, d := range b {
		if d -= '0'; d > 9 {
			return 0, false
		}
		u = u*10 + uint64(d)
	}
	if negative {
		return -int64(u), u <= math.MaxInt64+1
	}
	return int64(u), u <= math.MaxInt64
}

// parseInt32 reads a decimal number as Java's Integer.parseInt does.
func parseInt32(b []byte) (n int32, ok bool) {
	wide, ok := parseInt64(b)
	return int32(wide), ok && wide == int64(int32(wide))
}

// parseBool reads a boolean as Java's Boolean.parseBoolean does: "true" in any case, everything else is false.
func parseBool(b []byte) bool {
	return len(b) == 4 && b[0]|0x20 == 't' && b[1]|0x20 == 'r' && b[2]|0x20 == 'u' && b[3]|0x20 == 'e'
}
