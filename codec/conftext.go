package codec

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/magiconair/properties"
)

// Setting is one key of a `.conf` file or of a configuration request's body, with the line it stands on (from 1).
type Setting struct {
	Key, Value string
	Line       int
}

// ParseSettings reads Java's properties text as broker.conf, namesrv.conf and the bodies of UPDATE_BROKER_CONFIG and
// UPDATE_NAMESRV_CONFIG hold it. A key that stands twice yields its last value, as in Java. `${…}` is not expanded.
func ParseSettings(text []byte) ([]Setting, error) {
	p, err := (&properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}).LoadBytes(text)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	lines := settingLines(text)
	settings := make([]Setting, 0, p.Len())
	for _, key := range p.Keys() {
		value, _ := p.Get(key)
		settings = append(settings, Setting{Key: key, Value: strings.TrimSpace(value), Line: lines[key]})
	}
	return settings, nil
}

// settingLines finds the last line of each key; continuation lines and escaped keys are not worth more care, since the
// number only helps a person to find the place.
func settingLines(text []byte) map[string]int {
	lines := make(map[string]int)
	for i, line := range bytes.Split(text, []byte{'\n'}) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == '!' {
			continue
		}
		key := line
		if at := bytes.IndexAny(line, "=: \t"); at >= 0 {
			key = line[:at]
		}
		lines[string(key)] = i + 1
	}
	return lines
}
