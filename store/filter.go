package store

// TagFilter passes queue entries whose tag code is in a set. Apache: DefaultMessageFilter.
type TagFilter struct {
	codes []int32
}

// NewTagFilter returns a filter for the codes of a subscription. An empty set passes nothing.
func NewTagFilter(codes []int32) *TagFilter {
	return &TagFilter{codes: append([]int32(nil), codes...)}
}

// Match reports whether tagsCode passes. Only its low 32 bits count, as in Java. A nil filter passes everything.
func (f *TagFilter) Match(tagsCode int64) bool {
	if f == nil {
		return true
	}
	for _, c := range f.codes {
		if c == int32(tagsCode) {
			return true
		}
	}
	return false
}
