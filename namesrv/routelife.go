package namesrv

import (
	"maps"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// How brokers come to their end: by their word, with their connection, by silence.

// touch returns the version of the topics a broker registered, and counts as a sign of life. It is none of a stale broker, which has
// to register.
func (r *routes) touch(cluster, addr string, now time.Time) (codec.DataVersion, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	l := r.lives[brokerAddr{cluster, addr}]
	if l == nil || l.stale {
		return codec.DataVersion{}, false
	}
	l.lastMs.Store(now.UnixMilli())
	return l.version, true
}

// unregister takes a broker's address out, and with the last one of its name the name and its topics.
func (r *routes) unregister(cluster, addr, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unregisterLocked(cluster, addr, name)
}

func (r *routes) unregisterLocked(cluster, addr, name string) {
	r.forgetLocked(brokerAddr{cluster, addr})
	m := r.brokers[name]
	if m == nil {
		return
	}
	least := m.leastID()
	maps.DeleteFunc(m.addrs, func(_ int64, a string) bool { return a == addr })
	r.answers.reset()
	switch {
	case len(m.addrs) == 0:
		r.removeNameLocked(name)
	case m.actingMaster && m.addrs[masterID] == "":
		r.permLocked(name, func(perm int32) int32 { return perm &^ codec.PermWrite })
		fallthrough
	default:
		if m.leastID() != least {
			r.incompleteLocked(name)
		}
	}
}

func (r *routes) removeNameLocked(name string) {
	delete(r.brokers, name)
	delete(r.leftovers, name)
	for cluster, names := range r.clusters {
		if delete(names, name); len(names) == 0 {
			delete(r.clusters, cluster)
		}
	}
	for topic, byBroker := range r.mappings {
		if delete(byBroker, name); len(byBroker) == 0 {
			delete(r.mappings, topic)
		}
	}
	r.dropTopicsLocked(name, func(string) bool { return true })
}

// forgetLocked takes a broker out of the living.
func (r *routes) forgetLocked(key brokerAddr) {
	l := r.lives[key]
	if l == nil {
		return
	}
	delete(r.lives, key)
	r.answers.changes.Add(1)
	if l.stale {
		return
	}
	for _, other := range r.lives {
		if other.conn == l.conn {
			return
		}
	}
	r.registered.Delete(l.conn)
}

// incompleteLocked makes the next registrations under a name be read in full.
func (r *routes) incompleteLocked(name string) {
	for _, l := range r.lives {
		if l.name == name {
			l.complete = false
		}
	}
}

// gone is a broker that was taken out.
type gone struct {
	brokerAddr
	name string
	id   int64
	conn remoting.Conn // nil when it was stale
}

// connClosed takes out the brokers that registered over a connection.
func (r *routes) connClosed(conn remoting.Conn) []gone {
	r.registered.Delete(conn)
	return r.remove(func(l *live) bool { return l.conn == conn })
}

// expire takes out the brokers that were silent for longer than they said.
func (r *routes) expire(now time.Time) []gone {
	nowMs := now.UnixMilli()
	return r.remove(func(l *live) bool { return l.lastMs.Load()+l.timeout.Milliseconds() < nowMs })
}

func (r *routes) remove(which func(*live) bool) []gone {
	r.mu.RLock()
	found := false
	for _, l := range r.lives {
		found = found || which(l)
	}
	r.mu.RUnlock()
	if !found {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []gone
	for key, l := range r.lives {
		if which(l) {
			all = append(all, gone{key, l.name, l.id, l.conn})
		}
	}
	for _, g := range all {
		r.unregisterLocked(g.cluster, g.addr, g.name)
	}
	return all
}
