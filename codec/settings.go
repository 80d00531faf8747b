package codec

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// SettingKey ties one of Apache's configuration keys to the field of C that holds it.
type SettingKey[C any] struct {
	// Get prints the field as Apache does.
	Get func(c *C) string
	// Set reads a value into the field; the error says what is wanted and names neither key nor value.
	Set func(c *C, value string) error
	// Live is whether a change at run time takes effect before the next start.
	Live bool
}

// LiveKey is k, live.
func LiveKey[C any](k SettingKey[C]) SettingKey[C] {
	k.Live = true
	return k
}

// TextKey is a key whose value is taken as it is.
func TextKey[C any](field func(*C) *string) SettingKey[C] {
	return SettingKey[C]{
		Get: func(c *C) string { return *field(c) },
		Set: func(c *C, v string) error { *field(c) = v; return nil },
	}
}

// SecretKey is a text whose value is shown as stars.
func SecretKey[C any](field func(*C) *string) SettingKey[C] {
	k := TextKey(field)
	k.Get = func(c *C) string {
		if *field(c) == "" {
			return ""
		}
		return "******"
	}
	return k
}

// OneOfKey is a text that has to be one of values.
func OneOfKey[C any](field func(*C) *string, values ...string) SettingKey[C] {
	k := TextKey(field)
	k.Set = func(c *C, v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("want one of %v", slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" }))
		}
		*field(c) = v
		return nil
	}
	return k
}

// NumberKey is a whole number from least to most.
func NumberKey[C any, T int | int32 | int64](field func(*C) *T, least, most int64) SettingKey[C] {
	return SettingKey[C]{
		Get: func(c *C) string { return strconv.FormatInt(int64(*field(c)), 10) },
		Set: func(c *C, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < least || n > most {
				return fmt.Errorf("want a whole number from %d to %d", least, most)
			}
			*field(c) = T(n)
			return nil
		},
	}
}

// BoolKey is true or false in whatever case, as in Java.
func BoolKey[C any](field func(*C) *bool) SettingKey[C] {
	return SettingKey[C]{
		Get: func(c *C) string { return strconv.FormatBool(*field(c)) },
		Set: func(c *C, v string) error {
			b, err := strconv.ParseBool(strings.ToLower(v))
			if err != nil {
				return fmt.Errorf("want true or false")
			}
			*field(c) = b
			return nil
		},
	}
}

// DurationKey is a time of at least least, 0 or more, written as a whole number of unit: time.Millisecond,
// time.Second or time.Hour.
func DurationKey[C any](field func(*C) *time.Duration, unit, least time.Duration) SettingKey[C] {
	want := "want a number of milliseconds"
	switch unit {
	case time.Second:
		want = "want a number of seconds"
	case time.Hour:
		want = "want a number of hours"
	}
	if least == 0 {
		want += ", not negative"
	} else {
		want += fmt.Sprintf(", at least %d", least/unit)
	}
	const most = time.Duration(1 << 62)
	return SettingKey[C]{
		Get: func(c *C) string { return strconv.FormatInt(int64(*field(c)/unit), 10) },
		Set: func(c *C, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < int64(least/unit) || n > int64(most/unit) {
				return fmt.Errorf("%s", want)
			}
			*field(c) = time.Duration(n) * unit
			return nil
		},
	}
}

// ErrBlackList is how Apache refuses to change a key of its configBlackList.
var ErrBlackList = &Refusal{Code: NoPermission, Remark: "Can not update config in black list."}

// SettingKeys are the keys that have a field in C, by name. One table serves reading a file, the update by a request and
// printing.
type SettingKeys[C any] map[string]SettingKey[C]

// Load reads the text of a `.conf` file over c. It returns the settings that are not in the table; an error names the file,
// and with a value that cannot be also line and key.
func (t SettingKeys[C]) Load(c *C, file string, text []byte) (others []Setting, err error) {
	settings, err := ParseSettings(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t.Apply(c, file, settings)
}

// Apply sets what a file, an environment or a command line says over c. It returns the settings that are not in the table; an error
// names source, line if there is one, and key.
func (t SettingKeys[C]) Apply(c *C, source string, settings []Setting) (others []Setting, err error) {
	for _, s := range settings {
		known, err := t.set(c, s)
		switch {
		case err != nil && s.Line > 0:
			return nil, fmt.Errorf("%s:%d: %w", source, s.Line, err)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", source, err)
		case !known:
			others = append(others, s)
		}
	}
	return others, nil
}

// Update reads the body of UPDATE_BROKER_CONFIG or UPDATE_NAMESRV_CONFIG over c. It returns the settings it took and those that
// are not in the table. After an error c is half changed, so pass a copy. mayChange refuses a key that may not be changed;
// a value that could set another key once it stands in a file is refused, too.
func (t SettingKeys[C]) Update(c *C, text []byte, mayChange func(key string) error) (taken, others []Setting, err error) {
	settings, err := ParseSettings(text)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range settings {
		if err := mayChange(s.Key); err != nil {
			return nil, nil, err
		}
		if strings.ContainsFunc(s.Value, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }) {
			return nil, nil, fmt.Errorf("%s: control character or backslash in the value", s.Key)
		}
		known, err := t.set(c, s)
		switch {
		case err != nil:
			return nil, nil, err
		case known:
			taken = append(taken, s)
		default:
			others = append(others, s)
		}
	}
	return taken, others, nil
}

func (t SettingKeys[C]) set(c *C, s Setting) (known bool, err error) {
	k, ok := t[s.Key]
	if !ok {
		return false, nil
	}
	if err := k.Set(c, s.Value); err != nil {
		return true, fmt.Errorf("%s=%s: %w", s.Key, s.Value, err)
	}
	return true, nil
}

// Values returns every key of the table with its value in c.
func (t SettingKeys[C]) Values(c *C) map[string]string {
	values := make(map[string]string, len(t))
	for name, k := range t {
		values[name] = k.Get(c)
	}
	return values
}

// SettingsText prints values as key=value, a line each in alphabetical order, as GET_BROKER_CONFIG and GET_NAMESRV_CONFIG
// answer.
func SettingsText(values map[string]string) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&text, "%s=%s\n", name, values[name])
	}
	return text.String()
}

// ReplaceSettings returns the text of a `.conf` file with changes made: the lines of keys it has are replaced, other keys go
// to the end, everything else stays as it is.
func ReplaceSettings(text []byte, changes []Setting) ([]byte, error) {
	before, err := ParseSettings(text)
	if err != nil {
		return nil, err
	}
	at := make(map[string]int, len(before))
	for _, s := range before {
		at[s.Key] = s.Line
	}
	lines := bytes.Split(bytes.TrimRight(text, "\n"), []byte{'\n'})
	for _, s := range changes {
		line := []byte(s.Key + "=" + s.Value)
		if n := at[s.Key]; n > 0 {
			lines[n-1] = line
		} else {
			lines = append(lines, line)
		}
	}
	return append(bytes.Join(lines, []byte{'\n'}), '\n'), nil
}
