package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// field is one value of a row that Dump shows.
type field struct {
	name  string
	value any // int32, int64, bool, string, []field, or for JSON only any
}

// rowWriter writes rows: a line of name=value each, or a JSON object with the fields in their order.
type rowWriter struct {
	w    *bufio.Writer
	json bool
	file string // of a directory that is shown
	line bytes.Buffer
}

func newRowWriter(w io.Writer, asJSON bool) *rowWriter {
	return &rowWriter{w: bufio.NewWriterSize(w, 64<<10), json: asJSON}
}

func (r *rowWriter) flush() error { return r.w.Flush() }

// begin says which file the next rows come from.
func (r *rowWriter) begin(file, kind string) {
	r.file = file
	if !r.json {
		fmt.Fprintf(r.w, "# %s (%s)\n", file, kind)
	}
}

// raw writes text as it is, with a line end.
func (r *rowWriter) raw(text []byte) error {
	if _, err := r.w.Write(text); err != nil {
		return err
	}
	if !bytes.HasSuffix(text, []byte("\n")) {
		return r.w.WriteByte('\n')
	}
	return nil
}

func (r *rowWriter) row(fields []field) error {
	r.line.Reset()
	var err error
	if r.json {
		if r.file != "" {
			fields = append([]field{{"file", r.file}}, fields...)
		}
		err = r.object(fields)
	} else {
		r.text(fields, " ")
	}
	if err != nil {
		return err
	}
	r.line.WriteByte('\n')
	_, err = r.w.Write(r.line.Bytes())
	return err
}

func (r *rowWriter) object(fields []field) error {
	r.line.WriteByte('{')
	for i, f := range fields {
		if i > 0 {
			r.line.WriteByte(',')
		}
		r.line.Write(jsonText(f.name))
		r.line.WriteByte(':')
		switch v := f.value.(type) {
		case []field:
			if err := r.object(v); err != nil {
				return err
			}
		case string:
			r.line.Write(jsonText(v))
		default:
			b, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("write %s as JSON: %w", f.name, err)
			}
			r.line.Write(b)
		}
	}
	r.line.WriteByte('}')
	return nil
}

// jsonText is text in quotes, without the escapes that are for browsers.
func jsonText(text string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a string can always be encoded
	return bytes.TrimRight(b.Bytes(), "\n")
}

func (r *rowWriter) text(fields []field, separator string) {
	for i, f := range fields {
		if i > 0 {
			r.line.WriteString(separator)
		}
		r.line.WriteString(quotedIfNeeded(f.name))
		r.line.WriteByte('=')
		switch v := f.value.(type) {
		case []field:
			r.line.WriteByte('{')
			r.text(v, ", ")
			r.line.WriteByte('}')
		case string:
			r.line.WriteString(quotedIfNeeded(v))
		default:
			fmt.Fprint(&r.line, v)
		}
	}
}

// quotedIfNeeded puts text in quotes that would not stand for itself in a row.
func quotedIfNeeded(text string) string {
	if text == "" || strings.ContainsAny(text, " \t\"'={},") || !isPrintable(text) {
		return strconv.Quote(text)
	}
	return text
}

func isPrintable(text string) bool {
	for _, c := range text {
		if !strconv.IsPrint(c) || c == '\uFFFD' {
			return false
		}
	}
	return true
}

// timeText is a time in ms since 1970 for people; empty for none.
func timeText(ms int64) string {
	if ms <= 0 || ms > 1<<48 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
