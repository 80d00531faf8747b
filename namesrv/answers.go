package namesrv

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/apogee-mq/apogee/codec"
)

// maxAnswerBytes bounds the encoded routes that are kept; beyond it all are made anew.
const maxAnswerBytes = 64 << 20

// Dialects of a route's JSON.
const (
	dialectBare     = iota // integer keys without quotes, for senders before V4_9_4
	dialectStandard        // integer keys in quotes
	dialects
)

// variant says what a client is given: the addresses for who came through that listener, in that dialect.
type variant struct {
	listener int // index of the listener, see doors
	dialect  int
}

func (v variant) index() int { return v.listener*dialects + v.dialect }

// routeBodies are a topic's route encoded for each variant, nil or not there where nobody has asked yet.
type routeBodies [][]byte

// answers keeps the encoded route of each topic until something that it was made of changes. Whoever changes that drops it
// before the tables' lock is released, and answers are added under that lock, shared: so none outlives what it says.
type answers struct {
	// changes counts what was dropped because the tables changed; a snapshot is due when it moves.
	changes atomic.Int64

	// mu guards the fields below. It is taken after routes.mu.
	mu     sync.RWMutex
	bodies map[string]routeBodies
	bytes  int
}

// get returns a topic's route, nil when it has to be made. The bytes must not be changed.
func (a *answers) get(topic []byte, v variant) []byte {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if b := a.bodies[string(topic)]; v.index() < len(b) {
		return b[v.index()]
	}
	return nil
}

func (a *answers) put(topic string, v variant, body []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bytes+len(body) > maxAnswerBytes {
		clear(a.bodies)
		a.bytes = 0
	}
	b := a.bodies[topic]
	if missing := v.index() + 1 - len(b); missing > 0 {
		b = append(b, make(routeBodies, missing)...)
		a.bodies[topic] = b
	}
	a.bytes += len(body) - len(b[v.index()])
	b[v.index()] = body
}

func (a *answers) forget(topic string) {
	a.changes.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, body := range a.bodies[topic] {
		a.bytes -= len(body)
	}
	delete(a.bodies, topic)
}

func (a *answers) reset() {
	a.changes.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.bodies) > 0 {
		a.bodies, a.bytes = make(map[string]routeBodies), 0
	}
}

// body returns a topic's encoded route, nil when no broker has it. With mayWait false it reports ok false instead of
// waiting for a registration to be taken in.
func (r *routes) body(topic []byte, v variant, mayWait bool) (body []byte, ok bool, err error) {
	if body = r.answers.get(topic, v); body != nil {
		return body, true, nil
	}
	if mayWait {
		r.mu.RLock()
	} else if !r.mu.TryRLock() {
		return nil, false, nil
	}
	defer r.mu.RUnlock()
	name := string(topic)
	route, found := r.routeLocked(name)
	if !found {
		return nil, true, nil
	}
	r.routeAddressesLocked(route, r.doors.name(v.listener))
	if body, err = encodeRoute(route, v.dialect); err != nil {
		return nil, true, fmt.Errorf("route of topic %s: %w", name, err)
	}
	r.answers.put(name, v, body)
	return body, true, nil
}

func encodeRoute(route *codec.TopicRouteData, dialect int) ([]byte, error) {
	if dialect == dialectStandard {
		return codec.MarshalStandardJSON(route)
	}
	return codec.MarshalJSON(route)
}

// zoneRoute returns a topic's route without the brokers of other zones, except those without a master, with the addresses for who came
// through that listener. False when no broker has the topic.
func (r *routes) zoneRoute(topic, zone, listener string) (*codec.TopicRouteData, bool) {
	r.mu.RLock()
	route, ok := r.routeLocked(topic)
	if ok {
		r.routeAddressesLocked(route, listener)
	}
	r.mu.RUnlock()
	if !ok {
		return nil, false
	}
	keepZone(route, zone)
	return route, true
}
