package store

import (
	"fmt"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// maxRequestModes bounds the groups in topics of which an administrator said how they get their messages.
const maxRequestModes = 1_000_000

// RequestModes is the table of how groups get a topic's messages, messageRequestMode.json. Apache: MessageRequestModeManager.
type RequestModes struct {
	file *jsonFile

	mu      sync.RWMutex // guards what follows, and is held while the file is written
	modes   map[string]map[string]codec.MessageRequestMode
	count   int
	unknown codec.UnknownFields
}

// requestModeFile is messageRequestMode.json.
type requestModeFile struct {
	MessageRequestModeMap map[string]map[string]codec.MessageRequestMode `json:"messageRequestModeMap"`

	Unknown codec.UnknownFields `json:"-"`
}

// OpenRequestModes reads the table from path (and path.bak).
func OpenRequestModes(path string, opts TableOptions) (*RequestModes, error) {
	opts.fill()
	t := &RequestModes{file: newJSONFile(path, opts), modes: make(map[string]map[string]codec.MessageRequestMode)}
	stored, err := loadJSON[requestModeFile](t.file)
	if err != nil || stored == nil {
		return t, err
	}
	t.unknown = stored.Unknown
	for topic, groups := range stored.MessageRequestModeMap {
		if groups == nil {
			groups = make(map[string]codec.MessageRequestMode)
		}
		t.modes[topic] = groups
		t.count += len(groups)
	}
	return t, nil
}

// Get returns what was said of a group in a topic.
func (t *RequestModes) Get(topic, group string) (codec.MessageRequestMode, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	mode, ok := t.modes[topic][group]
	return mode, ok
}

// Set stores how a group gets a topic's messages, durably. The error is ErrTableFull or one of the disk; nothing has changed then.
func (t *RequestModes) Set(mode codec.MessageRequestMode) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	groups := t.modes[mode.Topic]
	had, known := groups[mode.ConsumerGroup]
	if !known && t.count >= maxRequestModes {
		return fmt.Errorf("%w: %d request modes", ErrTableFull, maxRequestModes)
	}
	if groups == nil {
		groups = make(map[string]codec.MessageRequestMode)
		t.modes[mode.Topic] = groups
	}
	groups[mode.ConsumerGroup] = mode
	text, err := codec.MarshalPrettyJSON(&requestModeFile{MessageRequestModeMap: t.modes, Unknown: t.unknown})
	if err == nil {
		err = t.file.save(text)
	}
	switch {
	case err == nil && !known:
		t.count++
	case err != nil && known:
		groups[mode.ConsumerGroup] = had
	case err != nil:
		delete(groups, mode.ConsumerGroup)
	}
	if err != nil {
		return fmt.Errorf("set request mode of group %s in topic %s: %w", mode.ConsumerGroup, mode.Topic, err)
	}
	return nil
}

// JSON returns the table as GET_ALL_MESSAGE_REQUEST_MODE answers it.
func (t *RequestModes) JSON() ([]byte, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return codec.MarshalJSON(&codec.MessageRequestModeTable{MessageRequestModeMap: t.modes})
}
