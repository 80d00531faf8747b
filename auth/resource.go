package auth

import (
	"slices"
	"strings"
)

// Kind is what a resource is. Apache: ResourceType.
type Kind uint8

// The kinds in Java's order.
const (
	KindUnknown Kind = iota
	KindAny
	KindCluster
	KindNamespace
	KindTopic
	KindGroup

	kinds = 6
)

var kindNames = [kinds]string{"Unknown", "Any", "Cluster", "Namespace", "Topic", "Group"}

// String returns Java's name of the kind.
func (k Kind) String() string { return kindNames[k] }

// Actions is a set of actions. Apache: Action.
type Actions uint16

// The actions in Java's order.
const (
	ActionUnknown Actions = 1 << iota
	ActionAll
	ActionAny
	ActionPub
	ActionSub
	ActionCreate
	ActionUpdate
	ActionDelete
	ActionGet
	ActionList
)

var actionNames = [...]string{"Unknown", "All", "Any", "Pub", "Sub", "Create", "Update", "Delete", "Get", "List"}

// actionOf returns the action of a name in whatever case, 0 for none.
func actionOf(name string) Actions {
	for i, known := range actionNames {
		if strings.EqualFold(known, name) {
			return 1 << i
		}
	}
	return 0
}

// String returns the names, separated by ",".
func (a Actions) String() string {
	var names []string
	for i, name := range actionNames {
		if a&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// pattern is how the name of a policy's resource is compared. Apache: ResourcePattern.
type pattern uint8

const (
	patternAny pattern = iota
	patternLiteral
	patternPrefixed
)

// resource is what a policy's entry speaks of. Apache: Resource.
type resource struct {
	kind    Kind
	pattern pattern
	name    string
}

// parseResource reads "*", "Topic:*", "Topic:name" or "Topic:prefix*"; false for anything else.
func parseResource(key string) (resource, bool) {
	if strings.TrimSpace(key) == "" {
		return resource{}, false
	}
	if key == "*" {
		return resource{kind: KindAny, pattern: patternAny}, true
	}
	kindName, name, _ := strings.Cut(key, ":")
	kind := slices.IndexFunc(kindNames[:], func(known string) bool { return strings.EqualFold(known, kindName) })
	if kind < 0 {
		return resource{}, false
	}
	r := resource{kind: Kind(kind), pattern: patternLiteral, name: name}
	switch prefix, _, starred := strings.Cut(name, "*"); {
	case name == "*":
		r.pattern, r.name = patternAny, ""
	case starred && strings.HasSuffix(name, "*"):
		r.pattern, r.name = patternPrefixed, prefix
	}
	return r, true
}

// String returns the resource as policies and remarks show it.
func (r resource) String() string {
	switch {
	case r.kind == KindAny:
		return "*"
	case r.pattern == patternAny:
		return r.kind.String() + ":*"
	case r.pattern == patternPrefixed:
		return r.kind.String() + ":" + r.name + "*"
	}
	return r.kind.String() + ":" + r.name
}

const retryPrefix, dlqPrefix = "%RETRY%", "%DLQ%"

// isRetry reports whether a topic is a group's retry topic. Apache: NamespaceUtil.isRetryTopic.
func isRetry(topic []byte) bool {
	return len(topic) >= len(retryPrefix) && string(topic[:len(retryPrefix)]) == retryPrefix
}

// groupOf takes the group out of a retry topic, and leaves every other name as it is.
func groupOf(name []byte) []byte {
	if isRetry(name) {
		return name[len(retryPrefix):]
	}
	return name
}
