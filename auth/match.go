package auth

import (
	"net/netip"
	"slices"
)

// entryIndex finds the entries of one list that speak of a resource, the most specific first: the name itself, then prefixes
// from the longest, then the kind's "*", then "*". It makes the cost of a check independent of the number of entries.
type entryIndex struct {
	literal  [kinds]map[string][]*entry
	prefixed [kinds]map[string][]*entry
	lengths  [kinds][]int // of the prefixes, the longest first
	any      [kinds][]*entry
	all      [][]*entry // of "*", in Java's order: Any:name, Any:prefix*, "*"
}

func (a *acl) reindex() {
	for i := range a.index {
		a.index[i] = entryIndex{}
	}
	for _, p := range a.policies {
		for _, e := range p.entries {
			a.index[p.typ].add(e)
		}
	}
	for i := range a.index {
		a.index[i].sort()
	}
}

func (x *entryIndex) add(e *entry) {
	r := e.resource
	switch {
	case r.kind == KindAny:
		x.addToAll(e)
	case r.pattern == patternAny:
		x.any[r.kind] = append(x.any[r.kind], e)
	case r.pattern == patternLiteral:
		if x.literal[r.kind] == nil {
			x.literal[r.kind] = make(map[string][]*entry)
		}
		x.literal[r.kind][r.name] = append(x.literal[r.kind][r.name], e)
	default:
		if x.prefixed[r.kind] == nil {
			x.prefixed[r.kind] = make(map[string][]*entry)
		}
		if !slices.Contains(x.lengths[r.kind], len(r.name)) {
			x.lengths[r.kind] = append(x.lengths[r.kind], len(r.name))
		}
		x.prefixed[r.kind][r.name] = append(x.prefixed[r.kind][r.name], e)
	}
}

func (x *entryIndex) addToAll(e *entry) {
	at, found := slices.BinarySearchFunc(x.all, anyRank(e), func(list []*entry, rank int) int { return anyRank(list[0]) - rank })
	if !found {
		x.all = slices.Insert(x.all, at, nil)
	}
	x.all[at] = append(x.all[at], e)
}

// anyRank orders the entries that speak of everything.
func anyRank(e *entry) int {
	switch e.resource.pattern {
	case patternLiteral:
		return -maxNameBytes - 1
	case patternPrefixed:
		return -len(e.resource.name)
	}
	return 1
}

func (x *entryIndex) sort() {
	for kind := range x.lengths {
		slices.SortFunc(x.lengths[kind], func(a, b int) int { return b - a })
	}
}

// find returns the entry that decides, nil when none matches. Apache: AclAuthorizationHandler.
func (x *entryIndex) find(kind Kind, name []byte, actions Actions, from netip.Addr) *entry {
	if e := first(x.literal[kind][string(name)], actions, from); e != nil {
		return e
	}
	for _, n := range x.lengths[kind] {
		if n > len(name) {
			continue
		}
		if e := first(x.prefixed[kind][string(name[:n])], actions, from); e != nil {
			return e
		}
	}
	if e := first(x.any[kind], actions, from); e != nil {
		return e
	}
	for _, list := range x.all {
		if e := first(list, actions, from); e != nil {
			return e
		}
	}
	return nil
}

// first returns the entry that counts among some of the same resource: one that denies before one that allows.
func first(entries []*entry, actions Actions, from netip.Addr) *entry {
	var found *entry
	for _, e := range entries {
		if !e.matches(actions, from) {
			continue
		}
		if e.deny {
			return e
		}
		if found == nil {
			found = e
		}
	}
	return found
}

// matches reports whether the entry speaks of one of the actions and of that source.
func (e *entry) matches(actions Actions, from netip.Addr) bool {
	if e.mask&(actions|ActionAll) == 0 {
		return false
	}
	if len(e.ranges) == 0 {
		return true
	}
	for _, r := range e.ranges {
		if r.Contains(from) {
			return true
		}
	}
	return false
}

// find returns the entry that decides about a resource and the list it is in; nil when none matches.
func (a *acl) find(kind Kind, name []byte, actions Actions, from netip.Addr) (*entry, policyType) {
	if a == nil {
		return nil, policyCustom
	}
	for typ := range a.index {
		if e := a.index[typ].find(kind, name, actions, from); e != nil {
			return e, policyType(typ)
		}
	}
	return nil, policyCustom
}
