package store

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

const (
	// maxFilters and maxFilterText bound the table: what is kept of groups, and the bytes of their expressions together.
	maxFilters    = 65_536
	maxFilterText = 16 << 20
	// deadAtLoad is how long ago a group whose data comes from the file counts as having gone.
	deadAtLoad = 30 * time.Second
)

// FiltersOptions are the settings of the table of filters.
type FiltersOptions struct {
	TableOptions
	// CleanAfter is how long the data of a group that has gone is kept. The default value is 24 h. Apache: filterDataCleanTimeSpan.
	CleanAfter time.Duration
	// BloomErrorPercent and BloomGroups shape the bit maps of extended queues. The default values are 20 and 32. Apache:
	// maxErrorRateOfBloomFilter, expectConsumerNumUseFilter.
	BloomErrorPercent, BloomGroups int
}

// FilterData is what a group wants of a topic by an expression over properties. It does not change; a new one replaces it. Apache:
// ConsumerFilterData.
type FilterData struct {
	Bloom *BloomData `json:"bloomFilterData,omitempty"`
	// BornMs and DeadMs are when the group came with the expression and when it went; DeadMs is 0 while it is there.
	BornMs int64 `json:"bornTime"`
	// ClientVersion is the version of the subscription.
	ClientVersion  int64  `json:"clientVersion"`
	Group          string `json:"consumerGroup"`
	Dead           bool   `json:"dead"` // told by the times, written only
	DeadMs         int64  `json:"deadTime"`
	Expression     string `json:"expression"`
	ExpressionType string `json:"expressionType"`
	Topic          string `json:"topic"`

	Unknown codec.UnknownFields `json:"-"`

	// SQL is the compiled expression; nil for one from a file that does not compile.
	SQL *SQLFilter `json:"-"`

	// fromPhys is where the bits of messages begin to be sure.
	fromPhys int64
}

func (d *FilterData) isDead() bool { return d.DeadMs >= d.BornMs }

// row returns the data as they are written.
func (d *FilterData) row() *FilterData {
	row := *d
	row.Dead = d.isDead()
	return &row
}

// Text returns the data as they stand in the file.
func (d *FilterData) Text() ([]byte, error) { return codec.MarshalPrettyJSON(d.row()) }

// filterFile is consumerFilter.json.
type filterFile struct {
	FilterDataByTopic map[string]*topicFilters `json:"filterDataByTopic"`

	Unknown codec.UnknownFields `json:"-"`
}

type topicFilters struct {
	GroupFilterData map[string]*FilterData `json:"groupFilterData"`
	Topic           string                 `json:"topic"`

	Unknown codec.UnknownFields `json:"-"`
}

// Filters is the table of expressions over properties, consumerFilter.json. It has no goroutine: whoever owns it calls Persist from
// time to time. Apache: ConsumerFilterManager.
type Filters struct {
	opts    FiltersOptions
	file    *jsonFile // nil for a table in memory only
	unknown codec.UnknownFields
	bloom   bloomShape
	zeros   []byte // an empty bit map

	mu      sync.RWMutex // guards what follows
	groups  map[string]map[string]*FilterData
	byTopic map[string][]*FilterData // the same; the slices do not change
	log     *commitLog               // of the messages that get bit maps, nil for none
	count   int
	text    int // bytes of all expressions
	dirty   bool

	persisting sync.Mutex // one Persist at a time
}

// NewFilters returns an empty table that is in memory only.
func NewFilters(opts FiltersOptions) *Filters {
	opts.fill()
	if opts.CleanAfter <= 0 {
		opts.CleanAfter = 24 * time.Hour
	}
	if opts.BloomErrorPercent <= 0 {
		opts.BloomErrorPercent = 20
	}
	if opts.BloomGroups <= 0 {
		opts.BloomGroups = 32
	}
	bloom := newBloomShape(float64(opts.BloomErrorPercent), float64(opts.BloomGroups))
	return &Filters{opts: opts, groups: make(map[string]map[string]*FilterData), byTopic: make(map[string][]*FilterData), bloom: bloom, zeros: make([]byte, bloom.bits/8)}
}

// OpenFilters reads the table from path (and path.bak). All groups in it count as gone until they come back.
func OpenFilters(path string, opts FiltersOptions) (*Filters, error) {
	t := NewFilters(opts)
	t.file = newJSONFile(path, t.opts.TableOptions)
	stored, err := loadJSON[filterFile](t.file)
	if err != nil || stored == nil {
		return t, err
	}
	t.unknown = stored.Unknown
	for topic, filters := range stored.FilterDataByTopic {
		if filters == nil {
			continue
		}
		for group, data := range filters.GroupFilterData {
			if data != nil {
				data.Topic, data.Group = topic, group
				t.load(data)
			}
		}
	}
	return t, nil
}

func (t *Filters) load(data *FilterData) {
	data.BornMs = max(data.BornMs, 1)
	if !t.bloom.fits(data.Bloom) { // the shape was another one, or there was none
		data.Bloom, data.BornMs = t.bloom.data(data.Group+"#"+data.Topic), max(data.BornMs, t.opts.Now().UnixMilli())
		data.fromPhys = math.MaxInt64 // until the log is known
		if data.DeadMs != 0 {
			data.DeadMs = max(data.DeadMs, data.BornMs)
		}
	}
	if data.DeadMs == 0 {
		data.DeadMs = max(data.BornMs, t.opts.Now().Add(-deadAtLoad).UnixMilli())
	}
	var err error
	if data.SQL, err = compileExpression(data.ExpressionType, data.Expression); err != nil {
		t.opts.Logger.Warn("stored filter cannot be compiled", "topic", data.Topic, "group", data.Group, "error", err)
	}
	if !t.putLocked(data) {
		t.opts.Logger.Warn("stored filter has no room", "topic", data.Topic, "group", data.Group)
	}
}

// compileExpression compiles an expression of some type. The error is ErrFilter.
func compileExpression(expressionType, expression string) (*SQLFilter, error) {
	if expressionType != codec.ExpressionSQL92 {
		return nil, fmt.Errorf("%w: unknown type %s", ErrFilter, quoted(expressionType))
	}
	return CompileSQL(expression)
}

// Get returns what a group wants of a topic, also one that has gone; nil when nothing is known. It does not allocate.
func (t *Filters) Get(group, topic []byte) *FilterData {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.groups[string(group)][string(topic)]
}

// Register notes the subscriptions of a group's heartbeat: expressions that are new or of a newer version are compiled, topics that
// are not among them any more count as gone. One that does not compile leaves no data. Apache: ConsumerFilterManager.register.
func (t *Filters) Register(group string, subs []codec.SubscriptionData) {
	var next []*FilterData
	var failed []error
	known := false
	for i := range subs {
		sub := &subs[i]
		if isTagType(sub.ExpressionType) || sub.SubString == "" {
			continue
		}
		known = true
		data, err := t.made(group, sub)
		if err != nil {
			failed = append(failed, err)
		}
		if data != nil {
			next = append(next, data)
		}
	}
	if !known && !t.has(group) {
		return
	}
	t.mu.Lock()
	for _, data := range next {
		if old := t.groups[group][data.Topic]; old != nil && data.ClientVersion < old.ClientVersion {
			continue
		}
		t.bornLocked(data)
		if data.ExpressionType == "" {
			t.dropLocked(group, data.Topic)
		} else if !t.putLocked(data) {
			failed = append(failed, fmt.Errorf("topic %s: %w: %d expressions of %d bytes", data.Topic, ErrTableFull, t.count, t.text))
		}
	}
	for topic, data := range t.groups[group] {
		if !data.isDead() && !slices.ContainsFunc(subs, func(s codec.SubscriptionData) bool { return s.Topic == topic }) {
			t.buryLocked(data)
		}
	}
	t.mu.Unlock()
	for _, data := range next {
		if data.ExpressionType == "" {
			continue
		}
		t.opts.Logger.Info("filter of a group", "topic", data.Topic, "group", group, "expression", quoted(data.Expression))
	}
	for _, err := range failed {
		t.opts.Logger.Warn("filter of a group is not taken", "group", group, "error", err)
	}
}

func isTagType(expressionType string) bool {
	return expressionType == "" || expressionType == codec.ExpressionTag
}

func (t *Filters) has(group string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.groups[group] != nil
}

// made returns the data that a subscription brings, nil when the table knows it already. Data without a type stands for removal: the
// error tells why.
func (t *Filters) made(group string, sub *codec.SubscriptionData) (*FilterData, error) {
	t.mu.RLock()
	old := t.groups[group][sub.Topic]
	t.mu.RUnlock()
	same := old != nil && old.Expression == sub.SubString && old.ExpressionType == sub.ExpressionType
	if old != nil {
		switch {
		case sub.SubVersion < old.ClientVersion, sub.SubVersion == old.ClientVersion && !old.isDead():
			return nil, nil
		case same && old.SQL != nil, sub.SubVersion == old.ClientVersion:
			data := *old
			data.ClientVersion, data.DeadMs = sub.SubVersion, 0
			return &data, nil
		}
	}
	data := &FilterData{
		BornMs: t.opts.Now().UnixMilli(), ClientVersion: sub.SubVersion, Group: group, Expression: sub.SubString,
		ExpressionType: sub.ExpressionType, Topic: sub.Topic, Bloom: t.bloom.data(group + "#" + sub.Topic),
	}
	var err error
	if data.SQL, err = compileExpression(sub.ExpressionType, sub.SubString); err == nil {
		return data, nil
	}
	err = fmt.Errorf("topic %s: %w", sub.Topic, err)
	if old == nil {
		return nil, err
	}
	data.ExpressionType = ""
	return data, err
}

// putLocked puts data into the table; false when it is full. Groups that have gone make room.
func (t *Filters) putLocked(data *FilterData) bool {
	grown := len(data.Expression)
	old := t.groups[data.Group][data.Topic]
	if old != nil {
		grown -= len(old.Expression)
	}
	full := func() bool { return old == nil && t.count >= maxFilters || t.text+grown > maxFilterText }
	if full() {
		t.cleanLocked(func(d *FilterData) bool { return d != old && d.isDead() })
		if full() {
			return false
		}
	}
	if t.groups[data.Group] == nil {
		t.groups[data.Group] = make(map[string]*FilterData)
	}
	t.groups[data.Group][data.Topic] = data
	t.replaceLocked(old, data)
	if old == nil {
		t.count++
	}
	t.text += grown
	t.dirty = true
	return true
}

func (t *Filters) dropLocked(group, topic string) {
	topics := t.groups[group]
	data := topics[topic]
	if data == nil {
		return
	}
	if delete(topics, topic); len(topics) == 0 {
		delete(t.groups, group)
	}
	t.replaceLocked(data, nil)
	t.count--
	t.text -= len(data.Expression)
	t.dirty = true
}

// cleanLocked removes the data that match.
func (t *Filters) cleanLocked(match func(*FilterData) bool) {
	for group, topics := range t.groups {
		for topic, data := range topics {
			if match(data) {
				t.dropLocked(group, topic)
			}
		}
	}
}

func (t *Filters) buryLocked(data *FilterData) {
	dead := *data
	dead.DeadMs = max(t.opts.Now().UnixMilli(), data.BornMs)
	t.groups[data.Group][data.Topic] = &dead
	t.replaceLocked(data, &dead)
	t.dirty = true
}

// Unregister notes that the last member of a group has gone. Apache: ConsumerFilterManager.unRegister.
func (t *Filters) Unregister(group string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, data := range t.groups[group] {
		if !data.isDead() {
			t.buryLocked(data)
		}
	}
}

// Persist forgets the groups that have been gone for long, and writes the table if it changed since the last Persist.
func (t *Filters) Persist() error {
	t.persisting.Lock()
	defer t.persisting.Unlock()
	before := t.opts.Now().Add(-t.opts.CleanAfter).UnixMilli()
	t.mu.Lock()
	t.cleanLocked(func(d *FilterData) bool { return d.isDead() && d.DeadMs <= before })
	dirty := t.dirty && t.file != nil
	var content *filterFile
	if dirty {
		content = t.contentLocked()
	}
	t.dirty = false
	t.mu.Unlock()
	if !dirty {
		return nil
	}
	text, err := codec.MarshalPrettyJSON(content)
	if err == nil {
		err = t.file.save(text)
	}
	if err != nil {
		t.mu.Lock()
		t.dirty = true
		t.mu.Unlock()
		return fmt.Errorf("persist filters: %w", err)
	}
	return nil
}

func (t *Filters) contentLocked() *filterFile {
	f := &filterFile{FilterDataByTopic: make(map[string]*topicFilters), Unknown: t.unknown}
	for group, topics := range t.groups {
		for topic, data := range topics {
			of := f.FilterDataByTopic[topic]
			if of == nil {
				of = &topicFilters{Topic: topic, GroupFilterData: make(map[string]*FilterData)}
				f.FilterDataByTopic[topic] = of
			}
			of.GroupFilterData[group] = data.row()
		}
	}
	return f
}

// Close is Persist.
func (t *Filters) Close() error { return t.Persist() }

// CheckExpression tells whether an expression that is not of tags can be evaluated. The error is ErrFilter.
func CheckExpression(expressionType, expression string) error {
	_, err := compileExpression(expressionType, expression)
	return err
}
