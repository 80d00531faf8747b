package broker

import (
	_ "embed"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/apogee-mq/apogee/codec"
)

// javaTable has a line for every key that Apache's broker knows: the class that holds it, its type, its default, the release since
// which GET_BROKER_CONFIG shows it ("-" never), whether `mqbroker -m` prints it, and the reason why a key without a field in
// Config has no effect.
//
//go:embed javakeys.tsv
var javaTable string

// javaKey is one of Apache's keys. One that is also in keyTable has an effect.
type javaKey struct {
	name, class string
	kind        string // boolean, int, long, double or text
	value       string // Java's default
	shown       bool   // by GET_BROKER_CONFIG of Apache 5.4.0
	important   bool   // by mqbroker -m
	reason      string // a key of whyNoEffect
}

// idleReason says why keys have no effect. Loud ones are worth a warning when a file sets them: whoever does expects something.
type idleReason struct {
	text string
	loud bool
}

// whyNoEffect are the reasons of javakeys.tsv.
var whyNoEffect = map[string]idleReason{
	"threads":     {text: "goroutines do the work; four bounded pools of a size of their own take the requests"},
	"network":     {text: "event loops manage sockets and buffers; what Netty is told has no counterpart"},
	"mapping":     {text: "files are mapped, touched ahead and unmapped in a way of their own, which clients do not see"},
	"locks":       {text: "one lock, held for a copy, orders the appends; a send that cannot be taken in time is refused at the pool"},
	"flush":       {text: "all that is dirty is flushed at each interval, however little it is"},
	"recovery":    {text: "recovery begins at the checkpoint, reads ahead, and makes anew what queues and index lack"},
	"retention":   {text: "queues and the index follow the log: what begins before its first message is removed"},
	"statistics":  {text: "the counters are always on and cost no more than an addition"},
	"metrics":     {text: "all metrics are always on, and each kind of series is bounded"},
	"logging":     {text: "the log has levels instead, which change at run time"},
	"naming":      {text: "name servers are told of changes at once and of the state at every interval, with time-outs of their own"},
	"pop":         {text: "what is in flight is kept in memory and in the revive topic, and comes back on its moment; nothing is scanned or merged"},
	"timer":       {text: "timer messages and delay levels are delivered by one pass each, which tries until it can"},
	"tuning":      {text: "the structures that these keys size do not exist here"},
	"identity":    {text: "Apache's start-up scripts use it; it names nothing here"},
	"container":   {text: "there are no broker containers: a broker is a process"},
	"pool":        {text: "messages are written straight into the page cache; there is no pool of buffers before it", loud: true},
	"rocksdb":     {text: "there is no RocksDB here", loud: true},
	"replication": {text: "belongs to replication, as far as it is not served", loud: true},
	"controller":  {text: "belongs to the controller or to DLedger, which are not served", loud: true},
	"cold":        {text: "cold reads have a budget of their own; Apache's flow control of them is not served", loud: true},
	"auth":        {text: "belongs to authentication and authorization, as far as they are not served", loud: true},
	"tls":         {text: "belongs to TLS, as far as it is not served by keys of this file", loud: true},
	"lite":        {text: "belongs to lite topics, as far as they are not served", loud: true},
	"unserved":    {text: "what another value than the default asks for is not served", loud: true},
}

// javaKeys are the lines of javaTable by key, read when they are first asked for. Nobody changes them.
var javaKeys = sync.OnceValue(readJavaKeys)

func readJavaKeys() map[string]javaKey {
	keys := make(map[string]javaKey, 600)
	for line := range strings.Lines(javaTable) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) == 7 && f[0] != "key" {
			keys[f[0]] = javaKey{name: f[0], class: f[1], kind: f[2], value: f[3], shown: f[4] == "5.4", important: f[5] == "important", reason: f[6]}
		}
	}
	return keys
}

// check tells whether a value is of the key's type, so that what a file or a request says wrongly is noticed even where it
// would change nothing.
func (k javaKey) check(value string) (err error) {
	switch k.kind {
	case "boolean":
		_, err = strconv.ParseBool(strings.ToLower(value))
	case "int":
		_, err = strconv.ParseInt(value, 10, 32)
	case "long":
		_, err = strconv.ParseInt(value, 10, 64)
	case "double":
		_, err = strconv.ParseFloat(value, 64)
	}
	if err == nil {
		return nil
	}
	want := "a whole number"
	switch k.kind {
	case "boolean":
		want = "true or false"
	case "double":
		want = "a number"
	}
	return fmt.Errorf("%s=%s: want %s", k.name, value, want)
}

// keep remembers settings that have no effect, so that they are shown as they were set; c may share what it kept before. It
// returns the names of settings that Apache does not know either.
func (c *Config) keep(settings []codec.Setting) (kept []codec.Setting, unknown []codec.Setting, err error) {
	all := javaKeys()
	next := maps.Clone(c.kept)
	if next == nil {
		next = make(map[string]string, len(settings))
	}
	for _, s := range settings {
		k, ok := all[s.Key]
		if !ok {
			unknown = append(unknown, s)
			continue
		}
		if err := k.check(s.Value); err != nil {
			return nil, nil, err
		}
		next[s.Key] = s.Value
		kept = append(kept, s)
	}
	c.kept = next
	return kept, unknown, nil
}

// ineffective returns what was set to another value than Java's default and has no effect although it should, with the
// reason, ordered by key.
func (c *Config) ineffective() []codec.Setting {
	all := javaKeys()
	var found []codec.Setting
	for _, name := range slices.Sorted(maps.Keys(c.kept)) {
		k := all[name]
		if why := whyNoEffect[k.reason]; why.loud && !strings.EqualFold(c.kept[name], k.value) {
			found = append(found, codec.Setting{Key: name, Value: why.text})
		}
	}
	return found
}

// Values are the values of all keys that GET_BROKER_CONFIG shows: Apache's, whether they have an effect or not, and Apogee's own.
func (c *Config) Values() map[string]string {
	all := javaKeys()
	values := make(map[string]string, len(all))
	for name, k := range all {
		if k.shown {
			values[name] = k.value
		}
	}
	maps.Copy(values, c.kept)
	full := c.filled()
	for name, k := range keyTable {
		value := k.Get(&full)
		if java, known := all[name]; known && !java.shown && value == java.value || oldSpellings[name] {
			continue
		}
		values[name] = value
	}
	return values
}

// filled is c with the values that are made of others, as Apache's getters show them.
func (c *Config) filled() Config {
	full := *c
	if full.CommitLogDir == "" {
		full.CommitLogDir = filepath.Join(c.StoreRoot, "commitlog")
	}
	if full.HAListenPort == 0 {
		full.HAListenPort = c.ListenPort + 1
	}
	return full
}

// oldSpellings are read and not shown.
var oldSpellings = map[string]bool{"mapedFileSizeCommitLog": true, "mapedFileSizeConsumeQueue": true}

// Text prints Values, one key=value a line in alphabetical order.
func (c *Config) Text() string { return codec.SettingsText(c.Values()) }

// ImportantText prints the keys that `mqbroker -m` prints.
func (c *Config) ImportantText() string {
	values, all := c.Values(), javaKeys()
	for name := range values {
		if !all[name].important {
			delete(values, name)
		}
	}
	return codec.SettingsText(values)
}
