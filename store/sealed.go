package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"strconv"
)

// sealBytes are the digits of the checksum and the space behind them, on disk, do not change.
const sealBytes = 9

// sealed returns JSON behind the CRC-32 of it, as in a line of apogee/poporder: eight hexadecimal digits and a space.
func sealed(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s", crc32.ChecksumIEEE(text), text), nil
}

// unseal parses what sealed made, and JSON alone, which is what former versions wrote.
func unseal(b []byte, v any) error {
	text, err := sealedText(b)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// sealedText returns the JSON of what sealed made, and JSON alone as it is.
func sealedText(b []byte) ([]byte, error) {
	if len(b) > 0 && b[0] == '{' {
		return b, nil
	}
	if len(b) < sealBytes || b[sealBytes-1] != ' ' {
		return nil, fmt.Errorf("%w: neither a checksum nor JSON", ErrCorrupt)
	}
	sum, err := strconv.ParseUint(string(b[:sealBytes-1]), 16, 32)
	if text := b[sealBytes:]; err == nil && uint32(sum) == crc32.ChecksumIEEE(text) {
		return text, nil
	}
	return nil, fmt.Errorf("%w: the checksum is that of other content", ErrCorrupt)
}

// readSealed reads one of our own files; good is false when it is missing or damaged, and then v is to be reset. Damage is
// logged: what the file said is done without, as Java does.
func readSealed(path string, v any, logger *slog.Logger) (good bool, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, wrapFileError(OpRead, path, err)
	}
	if err := unseal(b, v); err != nil {
		logger.Warn("file is damaged, it is done without", "path", path, "err", err)
		return false, nil
	}
	return true, nil
}
