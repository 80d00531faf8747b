package remoting

import (
	"strconv"

	"github.com/apogee-mq/apogee/codec"
)

// denseCodes is the number of codes, from 0, that are found without a map. All but POP's family are below.
const denseCodes = 2048

// Handler answers a request. It returns the response, or nil and nil when it has parked the request or the request is a
// one-way one. An error becomes a response: *codec.Refusal its code and remark, any other SYSTEM_ERROR.
//
// An inline handler runs on an event loop and must not wait; one that finds that it would have to returns ErrHandOver.
type Handler func(*Request) (*codec.Command, error)

// Entry says who answers a request code, and where.
type Entry struct {
	Code int32
	// Pool runs the handler when it is not inline, or returned ErrHandOver.
	Pool PoolKind
	// Inline runs the handler on the event loop.
	Inline  bool
	Handler Handler
}

// Table finds the entry of a request code. It does not change after NewTable.
type Table struct {
	dense  []*Entry
	sparse map[int32]*Entry
}

// NewTable returns a table of the entries. Of two entries with the same code the later one counts.
func NewTable(entries []Entry) *Table {
	t := &Table{dense: make([]*Entry, denseCodes), sparse: make(map[int32]*Entry)}
	for i := range entries {
		e := entries[i]
		if uint32(e.Code) < denseCodes {
			t.dense[e.Code] = &e
		} else {
			t.sparse[e.Code] = &e
		}
	}
	return t
}

// find returns the entry of code, nil if there is none.
func (t *Table) find(code int32) *Entry {
	if uint32(code) < denseCodes {
		return t.dense[code]
	}
	return t.sparse[code]
}

// unknownCode is the answer to a code without an entry; the remark's leading blank is Apache's.
func unknownCode(code int32) error {
	return &codec.Refusal{Code: respNotSupported, Remark: " request type " + strconv.Itoa(int(code)) + " not supported"}
}
