package processor

import (
	"sync"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// What pulls filter by: tags or SQL92 expressions, of a heartbeat or of the request.
//
// Apache: FilterAPI, ConsumerFilterManager, ExpressionMessageFilter.

const (
	// maxCachedFilters and maxCachedText, in bytes of expressions, bound each kind of cached filters; when it is full it starts anew.
	maxCachedFilters = 4096
	maxCachedText    = 4 << 20
	// maxInlineExpression is the length of an expression that may be compiled on an event loop.
	maxInlineExpression = 4 << 10
)

// expressionOf sets the filter of an expression that a heartbeat brought. Java looks for its data before it asks whether such
// filters are allowed.
func (c *pullCall) expressionOf(expressionType string) error {
	data := c.p.opts.Filters.Get(c.h.Group, c.h.Topic)
	switch {
	case data == nil || data.SQL == nil:
		return refuse(codec.FilterDataNotExist, "The broker's consumer filter data is not exist!Your expression may be wrong!")
	case data.ClientVersion < c.h.SubVersion:
		return refuse(codec.FilterDataNotLatest, "the consumer's consumer filter data not latest")
	case !c.p.live().PropertyFilter:
		return filterUnsupported(expressionType)
	}
	c.sql, c.bits = data.SQL, data
	return nil
}

// filterDataText is what QUERY_CONSUME_QUEUE shows of a group's expression.
func (p *Processor) filterDataText(group, topic string) string {
	data := p.opts.Filters.Get([]byte(group), []byte(topic))
	if data == nil {
		return "null"
	}
	text, err := data.Text()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// filterFrom sets the filter of the subscription that came with the pull. With hotOnly it returns remoting.ErrHandOver for one
// that takes long to compile.
func (c *pullCall) filterFrom(hotOnly bool) (err error) {
	h, filters := &c.h, &c.p.filters
	if t := h.ExpressionType; len(t) > 0 && string(t) != codec.ExpressionTag {
		switch {
		case len(h.Subscription) == 0:
			return unparsable()
		case !c.p.live().PropertyFilter:
			return filterUnsupported(string(t))
		case string(t) == codec.ExpressionSQL92:
			c.sql, err = filters.sqlOf(h.Subscription, hotOnly)
		}
		return err // an unknown type passes every message
	}
	if len(h.Subscription) == 0 || string(h.Subscription) == codec.SubAll {
		return nil
	}
	c.filter, err = filters.tagsOf(h)
	return err
}

func filterUnsupported(expressionType string) *codec.Refusal {
	return refuse(codec.SystemError, "The broker does not support consumer to filter message by %s", expressionType)
}

func unparsable() *codec.Refusal {
	return refuse(codec.SubscriptionParseFailed, "parse the consumer's subscription failed")
}

// filterCache keeps the filters of subscriptions that come with each pull, so that they are read once.
type filterCache struct {
	tags filterKind[store.TagFilter]
	sql  filterKind[store.SQLFilter]
}

// filterKind are the filters of one kind.
type filterKind[F any] struct {
	mu      sync.RWMutex  // guards what follows
	filters map[string]*F // by expression
	text    int           // bytes of all expressions
}

func (k *filterKind[F]) get(expression []byte) (*F, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	f, ok := k.filters[string(expression)]
	return f, ok
}

func (k *filterKind[F]) put(expression []byte, f *F) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.filters == nil || len(k.filters) >= maxCachedFilters || k.text+len(expression) > maxCachedText {
		k.filters, k.text = make(map[string]*F), 0
	}
	if _, ok := k.filters[string(expression)]; !ok {
		k.filters[string(expression)] = f
		k.text += len(expression)
	}
}

func (c *filterCache) tagsOf(h *codec.PullHeader) (*store.TagFilter, error) {
	if filter, ok := c.tags.get(h.Subscription); ok {
		return filter, nil
	}
	data, err := codec.ParseSubscription(string(h.Topic), string(h.Subscription), "")
	if err != nil {
		return nil, unparsable()
	}
	filter := store.NewTagFilter(data.CodeSet)
	c.tags.put(h.Subscription, filter)
	return filter, nil
}

// sqlOf returns nil, which passes every message, for an expression that does not compile: so does Java.
func (c *filterCache) sqlOf(expression []byte, hotOnly bool) (*store.SQLFilter, error) {
	if filter, ok := c.sql.get(expression); ok {
		return filter, nil
	}
	if hotOnly && len(expression) > maxInlineExpression {
		return nil, remoting.ErrHandOver
	}
	if len(expression) > store.MaxFilterExpressionBytes {
		return nil, unparsable()
	}
	filter, err := store.CompileSQL(string(expression))
	if err != nil {
		filter = nil
	}
	c.sql.put(expression, filter)
	return filter, nil
}
