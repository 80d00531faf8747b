package admin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// output is what a command shows: text as Apache's, or one JSON value a run (a round, for commands that repeat).
type output struct {
	w    io.Writer
	json bool

	buf   bufio.Writer
	begun bool
	value any   // what result was given
	rows  []any // what add was given
	many  bool  // rows count, even if there are none
}

// say writes text for people; under json it writes nothing.
func (s *session) say(format string, args ...any) { s.out.printf(format, args...) }

// result sets the JSON value of the command.
func (s *session) result(v any) { s.out.value = v }

// list says that the JSON value is the list of what is added.
func (s *session) list() { s.out.many = true }

// add appends to the list that is the JSON value of the command.
func (s *session) add(v any) { s.out.add(v) }

func (o *output) printf(format string, args ...any) {
	if o.json {
		return
	}
	if !o.begun {
		o.buf.Reset(o.w)
		o.begun = true
	}
	fmt.Fprintf(&o.buf, format, args...)
}

func (o *output) add(v any) { o.rows, o.many = append(o.rows, v), true }

// flush writes what one round has said.
func (o *output) flush() error {
	if !o.json {
		if !o.begun {
			return nil
		}
		return o.buf.Flush()
	}
	v := o.value
	if v == nil && o.many {
		v = o.rows
		if o.rows == nil {
			v = []any{}
		}
	}
	o.value, o.rows, o.many = nil, nil, false
	if v == nil {
		return nil
	}
	b, err := marshal(v)
	if err != nil {
		return err
	}
	_, err = o.w.Write(append(b, '\n'))
	return err
}

func (o *output) close() error { return o.flush() }

// marshal writes JSON for programs: indented, and <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// member is one name and value of a record.
type member struct {
	name  string
	value any
}

// record is a JSON object whose members keep their order.
type record []member

// MarshalJSON writes the members in order.
func (r record) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(m.name)
		b.Write(name)
		b.WriteByte(':')
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// shown is a value with a text of its own in a table, as a rate with two digits.
type shown struct {
	value any
	text  string
}

func decimals(digits int, v float64) shown { return shown{v, fmt.Sprintf("%.*f", digits, v)} }

// column is the heading in the text and the name in JSON. A column without a name stands in the text only.
type column struct{ heading, name string }

// table prints rows under headings in Apache's format, whose verbs are all %s, and collects the same rows for JSON.
type table struct {
	s       *session
	format  string
	columns []column
}

// table writes the headings. Format holds the widths of the headings and of the rows, and ends without a line end.
func (s *session) table(format string, columns ...column) *table {
	t := &table{s, format, columns}
	headings := make([]any, len(columns))
	for i, c := range columns {
		headings[i] = c.heading
	}
	s.say(format+"\n", headings...)
	s.list()
	return t
}

// rows changes the widths of the rows: those of some of Apache's tables are not those of the headings.
func (t *table) rows(format string) *table {
	t.format = format
	return t
}

// row writes a row and adds it to the JSON value.
func (t *table) row(values ...any) { t.s.add(t.line(values...)) }

// line writes a row and returns it for JSON, for commands whose value is more than one table.
func (t *table) line(values ...any) record {
	cells := make([]any, len(values))
	var r record
	for i, v := range values {
		if sh, ok := v.(shown); ok {
			cells[i], v = sh.text, sh.value
		} else {
			cells[i] = fmt.Sprint(v)
		}
		if t.columns[i].name != "" {
			r = append(r, member{t.columns[i].name, v})
		}
	}
	t.s.say(t.format+"\n", cells...)
	return r
}

// front cuts a text to its first n characters. Apache: UtilAll.frontStringAtLeast.
func front(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n])
	}
	return text
}

// firstLine is what an error message shows of a remark.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}
