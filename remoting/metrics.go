package remoting

// Metrics are the counters of a Server since its start, and a few of its present sizes.
type Metrics struct {
	ConnsOpened, ConnsClosed, ConnsRefused    int64
	ClosedIdle, ClosedSlow, ClosedBadFrame    int64
	Requests, Oneways, Responses, Pushes      int64
	HandedOver, Busy, TooOld, Unknown, Panics int64
	BytesIn, BytesOut                         int64
	// Conns, Parked, InflightBytes and UnsentBytes are sizes now.
	Conns, Parked, InflightBytes, UnsentBytes int64
	// Queued is what waits in each pool now.
	Queued [poolKinds]int
}

// Metrics returns the counters.
func (s *Server) Metrics() Metrics { return Metrics{} }
