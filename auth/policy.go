package auth

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// The bounds of what one user may own, far above what anybody writes by hand.
const (
	maxEntries   = 100_000
	maxSourceIPs = 4096
	maxNameBytes = 1024
)

// policyType is which of a subject's two lists an entry is in: the default one counts when nothing of the custom one matches.
// Apache: PolicyType.
type policyType uint8

const (
	policyCustom policyType = iota
	policyDefault
)

var policyNames = [...]string{"Custom", "Default"}

// entry is one line of a policy. Apache: PolicyEntry.
type entry struct {
	resource resource
	actions  []Actions // as they were given
	ips      []string
	deny     bool

	mask   Actions
	ranges []netip.Prefix
}

// policy is one of a subject's lists.
type policy struct {
	typ     policyType
	entries []*entry
}

// acl are the policies of one user. It does not change once it is in a book. Apache: Acl.
type acl struct {
	policies []policy
	index    [len(policyNames)]entryIndex
}

// refuse is a refusal with NO_PERMISSION, as Java's AuthenticationException and AuthorizationException end up.
func refuse(remark string) *codec.Refusal {
	return &codec.Refusal{Code: codec.NoPermission, Remark: remark}
}

// parsePolicies reads and checks the policies of a request or of the file. Apache: AclConverter, AuthorizationMetadataManagerImpl.
func parsePolicies(infos []codec.PolicyInfo) ([]policy, error) {
	var policies []policy
	count := 0
	for i := range infos {
		if len(infos[i].Entries) == 0 {
			continue
		}
		p := policy{typ: policyCustom}
		if strings.EqualFold(infos[i].PolicyType, policyNames[policyDefault]) {
			p.typ = policyDefault
		}
		if count += len(infos[i].Entries); count > maxEntries {
			return nil, refuse("The policies have too many entries.")
		}
		for j := range infos[i].Entries {
			e, err := parseEntry(&infos[i].Entries[j])
			if err != nil {
				return nil, err
			}
			p.entries = append(p.entries, e)
		}
		policies = append(policies, p)
	}
	if len(policies) == 0 {
		return nil, refuse("The policies is empty.")
	}
	return policies, nil
}

func parseEntry(info *codec.PolicyEntryInfo) (*entry, error) {
	e := &entry{ips: slices.Clone(info.SourceIPs)}
	var ok bool
	if e.resource, ok = parseResource(info.Resource); !ok {
		return nil, refuse("The resource is null.")
	}
	if len(e.resource.name) > maxNameBytes {
		return nil, refuse("The resource is too long.")
	}
	for _, name := range info.Actions {
		if a := actionOf(name); a != 0 && e.mask&a == 0 {
			e.actions, e.mask = append(e.actions, a), e.mask|a
		}
	}
	switch {
	case e.mask == 0:
		return nil, refuse("The actions is empty.")
	case e.mask&ActionAny != 0:
		return nil, refuse("The actions can not be Any.")
	case len(e.ips) > maxSourceIPs:
		return nil, refuse("The source ips are too many.")
	}
	for _, ip := range e.ips {
		if strings.TrimSpace(ip) == "" {
			return nil, refuse("The source ip is empty.")
		}
		r, ok := parseRange(ip)
		if !ok {
			return nil, refuse("The source ip is invalid.")
		}
		e.ranges = append(e.ranges, r)
	}
	switch {
	case strings.EqualFold(info.Decision, "Deny"):
		e.deny = true
	case !strings.EqualFold(info.Decision, "Allow"):
		return nil, refuse("The decision is null or illegal.")
	}
	return e, nil
}

// parseRange reads an address or a range in CIDR notation.
func parseRange(text string) (netip.Prefix, bool) {
	addr, bits, isRange := strings.Cut(text, "/")
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Zone() != "" {
		return netip.Prefix{}, false
	}
	if !isRange {
		return netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()), true
	}
	n := 0
	for _, digit := range []byte(bits) {
		if n = 10*n + int(digit-'0'); digit < '0' || digit > '9' || n > ip.BitLen() {
			return netip.Prefix{}, false
		}
	}
	return netip.PrefixFrom(ip, n), bits != ""
}

// info returns the acl as answers show it.
func (a *acl) info(subject string) codec.ACLInfo {
	info := codec.ACLInfo{Subject: subject}
	for _, p := range a.policies {
		pi := codec.PolicyInfo{PolicyType: policyNames[p.typ]}
		for _, e := range p.entries {
			pi.Entries = append(pi.Entries, e.info())
		}
		info.Policies = append(info.Policies, pi)
	}
	return info
}

func (e *entry) info() codec.PolicyEntryInfo {
	info := codec.PolicyEntryInfo{Resource: e.resource.String(), SourceIPs: e.ips, Decision: e.decision()}
	for _, a := range e.actions {
		info.Actions = append(info.Actions, a.String())
	}
	return info
}

func (e *entry) decision() string {
	if e.deny {
		return "Deny"
	}
	return "Allow"
}

// merged returns the acl with other policies put over it: an entry of the same resource is replaced, others are added. a may be
// nil. Apache: Acl.updatePolicy.
func (a *acl) merged(over []policy) *acl {
	next := &acl{}
	if a == nil {
		next.policies = over
		next.reindex()
		return next
	}
	for _, p := range a.policies {
		next.policies = append(next.policies, policy{p.typ, slices.Clone(p.entries)})
	}
	for _, p := range over {
		at := slices.IndexFunc(next.policies, func(old policy) bool { return old.typ == p.typ })
		if at < 0 {
			next.policies = append(next.policies, p)
			continue
		}
		next.policies[at].merge(p.entries)
	}
	next.reindex()
	return next
}

func (p *policy) merge(entries []*entry) {
	places := make(map[resource]int, len(p.entries))
	for i := len(p.entries) - 1; i >= 0; i-- {
		places[p.entries[i].resource] = i
	}
	for _, e := range entries {
		if at, ok := places[e.resource]; ok {
			p.entries[at] = e
			continue
		}
		places[e.resource] = len(p.entries)
		p.entries = append(p.entries, e)
	}
}

// without returns the acl without the entry of a resource, nil when nothing is left. Apache: Acl.deletePolicy.
func (a *acl) without(typ policyType, r resource) *acl {
	next := &acl{}
	done := false
	for _, p := range a.policies {
		kept := policy{typ: p.typ, entries: slices.Clone(p.entries)}
		if p.typ == typ && !done {
			done = true
			if at := slices.IndexFunc(kept.entries, func(e *entry) bool { return e.resource == r }); at >= 0 {
				kept.entries = slices.Delete(kept.entries, at, at+1)
			}
			if len(kept.entries) == 0 {
				continue
			}
		}
		next.policies = append(next.policies, kept)
	}
	if len(next.policies) == 0 {
		return nil
	}
	next.reindex()
	return next
}

func (a *acl) size() int {
	n := 0
	for _, p := range a.policies {
		n += len(p.entries)
	}
	return n
}
