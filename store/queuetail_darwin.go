package store

// readTail is readPiece that also says whether the file may have anything but a hole behind the page that b ends in.
func readTail(path string, b []byte, pos int64) (n, length int64, more bool, err error) {
	n, length, err = readPiece(path, b, pos)
	return n, length, roundUp(pos+int64(len(b)), 4096) < length, err
}
