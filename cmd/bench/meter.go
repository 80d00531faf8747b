package bench

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/apogee-mq/apogee/codec"
)

// Latencies are kept to three digits up to a minute; a longer one counts as a minute.
const (
	maxLatency = int64(time.Minute)
	digits     = 3
)

// maxRefusals bounds the kinds of refusals that are told apart.
const maxRefusals = 16

// meter counts what one connection sees; its lock is taken by nobody else but the line of progress.
type meter struct {
	on *atomic.Bool // whether the run is past its warm-up

	mu       sync.Mutex // guards the fields below
	latency  *hdrhistogram.Histogram
	messages int64
	bytes    int64
	refused  map[int32]*refusal
}

// refusal is how often a server gave a code, and the first remark with it.
type refusal struct {
	Code     int32  `json:"code"`
	Name     string `json:"name"`
	Remark   string `json:"remark"`
	Messages int64  `json:"messages"`
}

func newMeter(on *atomic.Bool) *meter {
	return &meter{on: on, latency: hdrhistogram.New(1, maxLatency, digits), refused: map[int32]*refusal{}}
}

// add counts n messages of bytes together that took so long.
func (m *meter) add(n int, bytes int64, took int64) {
	if !m.on.Load() {
		return
	}
	m.mu.Lock()
	m.messages += int64(n)
	m.bytes += bytes
	_ = m.latency.RecordValues(min(max(took, 1), maxLatency), int64(n))
	m.mu.Unlock()
}

func (m *meter) refuse(n int, code int32, remark string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.refused[code]
	if r == nil {
		if len(m.refused) == maxRefusals {
			return
		}
		r = &refusal{Code: code, Name: codec.ResponseName(code), Remark: remark}
		m.refused[code] = r
	}
	r.Messages += int64(n)
}

// meters are those of all connections.
type meters []*meter

// sum returns all of them together.
func (ms meters) sum() *meter {
	all := newMeter(new(atomic.Bool))
	for _, m := range ms {
		m.mu.Lock()
		all.messages += m.messages
		all.bytes += m.bytes
		all.latency.Merge(m.latency)
		for code, r := range m.refused {
			if known := all.refused[code]; known != nil {
				known.Messages += r.Messages
			} else {
				kept := *r
				all.refused[code] = &kept
			}
		}
		m.mu.Unlock()
	}
	return all
}

func (ms meters) messages() (n int64) {
	for _, m := range ms {
		m.mu.Lock()
		n += m.messages
		m.mu.Unlock()
	}
	return n
}
