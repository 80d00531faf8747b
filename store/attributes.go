package store

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// AttributeError says what is wrong with a change of attributes; its text is Java's.
type AttributeError struct{ Text string }

// Error returns the text.
func (e *AttributeError) Error() string { return e.Text }

func attributeErrorf(format string, args ...any) error {
	return &AttributeError{Text: fmt.Sprintf(format, args...)}
}

// attribute is what a topic's attribute may hold and whether it may change after the topic was created.
type attribute struct {
	changeable bool
	verify     func(value string) error
}

// topicAttributes are those a topic may have. Apache: TopicAttributes.
var topicAttributes = map[string]attribute{
	"queue.type":     {verify: oneOf("BatchCQ", "SimpleCQ")},
	"cleanup.policy": {verify: oneOf("COMPACTION", "DELETE")},
	"message.type": {changeable: true,
		verify: oneOf("UNSPECIFIED", "MIXED", "TRANSACTION", "PRIORITY", "FIFO", "DELAY", "LITE", "NORMAL")},
	"reserve.time": {changeable: true, verify: inRange(-1, 1<<63-1)},
	// Minutes after its last message at which a lite topic is deleted; -1 for never.
	"lite.topic.expiration": {changeable: true, verify: inRange(-1, 30*24*60)},
}

// groupAttributes are those a group may have. Apache: SubscriptionGroupAttributes.
var groupAttributes = map[string]attribute{
	"priority.factor":                   {changeable: true, verify: inRange(0, 100)},
	"lite.bind.topic":                   {changeable: true, verify: anyText},
	"lite.sub.model":                    {changeable: true, verify: oneOf("Shared", "Exclusive")},
	"lite.sub.wildcard":                 {changeable: true, verify: anyText},
	"lite.sub.client.quota":             {changeable: true, verify: inRange(-1, 1<<63-1)},
	"lite.sub.client.max.event.cnt":     {changeable: true, verify: inRange(10, 1<<63-1)},
	"lite.sub.reset.offset.exclusive":   {changeable: true, verify: boolean},
	"lite.sub.reset.offset.unsubscribe": {changeable: true, verify: boolean},
}

func anyText(string) error { return nil }

func boolean(value string) error {
	if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
		return attributeErrorf("boolean attribute format is wrong.")
	}
	return nil
}

func inRange(least, most int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return attributeErrorf("For input string: %q", value)
		}
		if n < least || n > most {
			return attributeErrorf("value is not in range(%d, %d)", least, most)
		}
		return nil
	}
}

func oneOf(values ...string) func(string) error {
	return func(value string) error {
		if !slices.Contains(values, value) {
			return attributeErrorf("value is not in set: [%s]", strings.Join(values, ", "))
		}
		return nil
	}
}

// alterAttributes applies changes, "+name" to set and "-name" to remove, to what a topic or group has. A new one may
// only set. Apache: AttributeUtil.alterCurrentAttributes.
func alterAttributes(known map[string]attribute, create bool, has, changes map[string]string) (map[string]string, error) {
	result := maps.Clone(has)
	if result == nil {
		result = make(map[string]string)
	}
	seen := make(map[string]bool)
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		if len(key) < 2 || strings.ContainsAny(key[1:], "+-") {
			return nil, attributeErrorf("kv string format wrong.")
		}
		name := key[1:]
		if seen[name] {
			return nil, attributeErrorf("alter duplication key. key: %s", name)
		}
		seen[name] = true
		_, exists := has[name]
		switch {
		case create && key[0] != '+':
			return nil, attributeErrorf("only add attribute is supported while creating topic. key: %s", name)
		case key[0] == '-' && !exists:
			return nil, attributeErrorf("attempt to delete a nonexistent key: %s", name)
		case key[0] != '+' && key[0] != '-':
			return nil, attributeErrorf("wrong format key: %s", name)
		}
		a, ok := known[name]
		switch {
		case !ok:
			return nil, attributeErrorf("unsupported key: %s", name)
		case !create && !a.changeable:
			return nil, attributeErrorf("attempt to update an unchangeable attribute. key: %s", name)
		case key[0] == '-':
			delete(result, name)
			continue
		}
		if err := a.verify(changes[key]); err != nil {
			return nil, err
		}
		result[name] = changes[key]
	}
	return result, nil
}
