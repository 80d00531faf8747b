package compat

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// parseFastjson reads JSON as Java's library writes it: keys of an object may be bare numbers or whole objects. Such a
// key becomes its text. Numbers are float64, everything else is as encoding/json has it.
func parseFastjson(b []byte) (any, error) {
	p := &fastjson{b: b}
	v, err := p.value(0)
	if err != nil {
		return nil, fmt.Errorf("at %d: %w", p.pos, err)
	}
	if p.space(); p.pos != len(b) {
		return nil, fmt.Errorf("at %d: %q is left", p.pos, b[p.pos:min(len(b), p.pos+20)])
	}
	return v, nil
}

const fastjsonDepth = 64

type fastjson struct {
	b   []byte
	pos int
}

func (p *fastjson) space() {
	for p.pos < len(p.b) && strings.IndexByte(" \t\r\n", p.b[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *fastjson) peek() byte {
	if p.space(); p.pos < len(p.b) {
		return p.b[p.pos]
	}
	return 0
}

func (p *fastjson) expect(c byte) error {
	if p.peek() != c {
		return fmt.Errorf("want %q", c)
	}
	p.pos++
	return nil
}

func (p *fastjson) value(depth int) (any, error) {
	if depth > fastjsonDepth {
		return nil, fmt.Errorf("deeper than %d", fastjsonDepth)
	}
	switch p.peek() {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	default:
		return p.scalar()
	}
}

func (p *fastjson) object(depth int) (any, error) {
	p.pos++
	m := map[string]any{}
	for p.peek() != '}' {
		if len(m) > 0 {
			if err := p.expect(','); err != nil {
				return nil, err
			}
		}
		k, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if err := p.expect(':'); err != nil {
			return nil, err
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		m[keyText(k)] = v
	}
	p.pos++
	return m, nil
}

func (p *fastjson) array(depth int) (any, error) {
	p.pos++
	list := []any{}
	for p.peek() != ']' {
		if len(list) > 0 {
			if err := p.expect(','); err != nil {
				return nil, err
			}
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	p.pos++
	return list, nil
}

func (p *fastjson) scalar() (any, error) {
	start := p.pos
	if p.peek() == '"' {
		start = p.pos
		for p.pos++; p.pos < len(p.b) && p.b[p.pos] != '"'; p.pos++ {
			if p.b[p.pos] == '\\' {
				p.pos++
			}
		}
		p.pos++
	} else {
		for p.pos < len(p.b) && strings.IndexByte(",:]} \t\r\n", p.b[p.pos]) < 0 {
			p.pos++
		}
	}
	if p.pos > len(p.b) {
		return nil, fmt.Errorf("text without an end")
	}
	var v any
	err := json.Unmarshal(p.b[start:p.pos], &v)
	return v, err
}

// keyText is an object's key as text: an object as its sorted members.
func keyText(k any) string {
	switch k := k.(type) {
	case string:
		return k
	case float64:
		return strconv.FormatFloat(k, 'f', -1, 64)
	case map[string]any:
		parts := make([]string, 0, len(k))
		for name, v := range k {
			parts = append(parts, name+"="+keyText(v))
		}
		sort.Strings(parts)
		return "{" + strings.Join(parts, " ") + "}"
	default:
		return fmt.Sprint(k)
	}
}
