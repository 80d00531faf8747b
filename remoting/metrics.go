package remoting

import "sync/atomic"

// Metrics are the counters of a Server since its start, and a few of its present sizes.
type Metrics struct {
	ConnsOpened, ConnsClosed, ConnsRefused int64
	ClosedIdle, ClosedSlow, ClosedBadFrame int64
	// TLSConns are finished handshakes, TLSFailed failed ones, PlainRefused connections that TLSEnforcing closed.
	TLSConns, TLSFailed, PlainRefused int64
	// Frames are requests and answers of clients; HandedOver are those that went to a pool.
	Frames, HandedOver int64
	// Responses do not count answers to parked requests; Pushes are requests to clients.
	Responses, Pushes int64
	// Busy were refused at the door, TooOld after waiting, Unknown had no handler.
	Busy, TooOld, Unknown, Panics int64
	BytesIn, BytesOut             int64
	// The rest are sizes now. UnsentBytes is what peers have not read and the kernel did not take.
	Conns, Parked, InflightBytes, UnsentBytes int64
	// Queued is what waits in each pool, by PoolKind.
	Queued [poolKinds]int
}

// stats are counted by goroutines other than the loops, or rarely.
type stats struct {
	connsOpened, connsClosed, connsRefused atomic.Int64
	closedIdle, closedSlow, closedBadFrame atomic.Int64
	tlsConns, tlsFailed, plainRefused      atomic.Int64
	responses, pushes                      atomic.Int64
	busy, tooOld, unknown, panics          atomic.Int64
}

// turnStats are counted by a loop in one turn.
type turnStats struct {
	frames, handedOver, responses, bytesIn, bytesOut int64
}

// loopStats are the sums of a loop's turns, for others to read.
type loopStats struct {
	frames, handedOver, responses, bytesIn, bytesOut atomic.Int64
}

// add adds a turn and begins the next one.
func (s *loopStats) add(t *turnStats) {
	if t.frames != 0 {
		s.frames.Add(t.frames)
		s.bytesIn.Add(t.bytesIn)
	}
	if t.handedOver != 0 {
		s.handedOver.Add(t.handedOver)
	}
	if t.bytesOut != 0 {
		s.responses.Add(t.responses)
		s.bytesOut.Add(t.bytesOut)
	}
	*t = turnStats{}
}

// Metrics returns the counters.
func (s *Server) Metrics() Metrics {
	m := Metrics{
		ConnsOpened: s.stats.connsOpened.Load(), ConnsClosed: s.stats.connsClosed.Load(), ConnsRefused: s.stats.connsRefused.Load(),
		ClosedIdle: s.stats.closedIdle.Load(), ClosedSlow: s.stats.closedSlow.Load(), ClosedBadFrame: s.stats.closedBadFrame.Load(),
		TLSConns: s.stats.tlsConns.Load(), TLSFailed: s.stats.tlsFailed.Load(), PlainRefused: s.stats.plainRefused.Load(),
		Responses: s.stats.responses.Load(), Pushes: s.stats.pushes.Load(),
		Busy: s.stats.busy.Load(), TooOld: s.stats.tooOld.Load(), Unknown: s.stats.unknown.Load(), Panics: s.stats.panics.Load(),
		Conns: s.conns.Load(), Parked: s.parked.Load(), InflightBytes: s.inflight.Load(), UnsentBytes: s.unsent.Load(),
	}
	for _, l := range s.allLoops() {
		m.Frames += l.stats.frames.Load()
		m.HandedOver += l.stats.handedOver.Load()
		m.Responses += l.stats.responses.Load()
		m.BytesIn += l.stats.bytesIn.Load()
		m.BytesOut += l.stats.bytesOut.Load()
	}
	for kind, p := range s.pools {
		m.Queued[kind] = p.Len()
	}
	return m
}
