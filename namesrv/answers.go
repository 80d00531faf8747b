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

// routeBodies are a topic's route encoded in each dialect, nil where nobody has asked yet.
type routeBodies [dialects][]byte

// answers keeps the encoded route of each topic until something that it was made of changes. Whoever changes that drops it
// before the tables' lock is released, and answers are added under that lock, shared: so none outlives what it says.
type answers struct {
	// changes counts what was dropped because the tables changed; a snapshot is due when it moves.
	changes atomic.Int64

	// mu guards the fields below. It is taken after routes.mu.
	mu     sync.RWMutex
	bodies map[string]*routeBodies
	bytes  int
}

// get returns a topic's route, nil when it has to be made. The bytes must not be changed.
func (a *answers) get(topic []byte, dialect int) []byte {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if b := a.bodies[string(topic)]; b != nil {
		return b[dialect]
	}
	return nil
}

func (a *answers) put(topic string, dialect int, body []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bytes+len(body) > maxAnswerBytes {
		clear(a.bodies)
		a.bytes = 0
	}
	b := a.bodies[topic]
	if b == nil {
		b = new(routeBodies)
		a.bodies[topic] = b
	}
	a.bytes += len(body) - len(b[dialect])
	b[dialect] = body
}

func (a *answers) forget(topic string) {
	a.changes.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if b := a.bodies[topic]; b != nil {
		a.bytes -= len(b[dialectBare]) + len(b[dialectStandard])
		delete(a.bodies, topic)
	}
}

func (a *answers) reset() {
	a.changes.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.bodies) > 0 {
		a.bodies, a.bytes = make(map[string]*routeBodies), 0
	}
}

// body returns a topic's encoded route, nil when no broker has it. With mayWait false it reports ok false instead of
// waiting for a registration to be taken in.
func (r *routes) body(topic []byte, dialect int, mayWait bool) (body []byte, ok bool, err error) {
	if body = r.answers.get(topic, dialect); body != nil {
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
	if body, err = encodeRoute(route, dialect); err != nil {
		return nil, true, fmt.Errorf("route of topic %s: %w", name, err)
	}
	r.answers.put(name, dialect, body)
	return body, true, nil
}

func encodeRoute(route *codec.TopicRouteData, dialect int) ([]byte, error) {
	if dialect == dialectStandard {
		return codec.MarshalStandardJSON(route)
	}
	return codec.MarshalJSON(route)
}

// zoneRoute returns a topic's route without the brokers of other zones, except those without a master. False when no broker
// has the topic.
func (r *routes) zoneRoute(topic, zone string) (*codec.TopicRouteData, bool) {
	r.mu.RLock()
	route, ok := r.routeLocked(topic)
	r.mu.RUnlock()
	if !ok {
		return nil, false
	}
	keepZone(route, zone)
	return route, true
}
