package auth

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// addressPattern says which clients a line of a white list means. Apache: RemoteAddressStrategyFactory.
//
//   - *.*.*.*  *:*:*:*:*:*:*:*                    everybody
//     10.1.2.3  1050::5:600:300c:326b                one
//     10.1.2.3,10.1.2.4                              several
//     10.1.2.{3,4}  1050::5:600:300c:{1,2}           several
//     10.1.2.*  10.1.2.3-9  10.1.3-9.*               a range
//     1050::5:600:300c:*  1050::5:600:300c:1-20  1050::5:600:1-20:*
type addressPattern struct {
	everybody bool
	single    []netip.Addr
	// isRange: an address matches whose groups begin with head and whose next one lies from low to high. wide is for IPv6.
	isRange   bool
	wide      bool
	head      []uint16
	low, high uint16
}

func (p *addressPattern) match(a netip.Addr) bool {
	switch {
	case p.everybody:
		return true
	case !p.isRange:
		return slices.Contains(p.single, a)
	case p.wide != a.Is6():
		return false
	}
	for i, want := range p.head {
		if group(a, i) != want {
			return false
		}
	}
	at := group(a, len(p.head))
	return p.low <= at && at <= p.high
}

// group returns one of the 4 or 8 numbers of an address.
func group(a netip.Addr, i int) uint16 {
	if a.Is4() {
		b := a.As4()
		return uint16(b[i])
	}
	b := a.As16()
	return binary.BigEndian.Uint16(b[2*i:])
}

// parseAddressPattern reads a line of a white list; nil for a blank one, which matches nobody.
func parseAddressPattern(text string) (*addressPattern, error) {
	text = strings.TrimSpace(text)
	switch text {
	case "":
		return nil, nil
	case "*", "*.*.*.*", "*:*:*:*:*:*:*:*":
		return &addressPattern{everybody: true}, nil
	}
	switch {
	case strings.HasSuffix(text, "}"):
		return parseBraces(text)
	case strings.Contains(text, ","):
		return parseAddresses(text, strings.Split(text, ","))
	case strings.ContainsAny(text, "*-") && strings.Contains(text, ":"):
		return parseRange6(text)
	case strings.ContainsAny(text, "*-"):
		return parseRange4(text)
	}
	return parseAddresses(text, []string{text})
}

func badAddress(text, why string) error { return fmt.Errorf("address %q: %s", text, why) }

// parseBraces reads addresses that share all but their last number.
func parseBraces(text string) (*addressPattern, error) {
	head, list, ok := strings.Cut(text, "{")
	if !ok || !strings.HasSuffix(head, ".") && !strings.HasSuffix(head, ":") {
		return nil, badAddress(text, "braces may only stand in place of the last number")
	}
	var all []string
	for _, last := range strings.Split(strings.TrimSuffix(list, "}"), ",") {
		if last != "" {
			all = append(all, head+last)
		}
	}
	return parseAddresses(text, all)
}

func parseAddresses(text string, list []string) (*addressPattern, error) {
	p := &addressPattern{}
	for _, one := range list {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		a, err := netip.ParseAddr(one)
		if err != nil || a.Zone() != "" {
			return nil, badAddress(text, one+" is no IP address")
		}
		p.single = append(p.single, a.Unmap())
	}
	if len(p.single) == 0 {
		return nil, badAddress(text, "it names no IP address")
	}
	return p, nil
}

// parseRange4 reads four numbers of which the second, third or fourth is "*" or a range; what follows that one does not count.
func parseRange4(text string) (*addressPattern, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return nil, badAddress(text, "want four numbers, \"*\" or ranges")
	}
	p := &addressPattern{isRange: true}
	for i, part := range parts {
		part = strings.TrimSpace(part)
		if i > 0 && strings.ContainsAny(part, "*-") {
			var err error
			p.low, p.high, err = parseBounds(text, part, 10, 255)
			return p, err
		}
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return nil, badAddress(text, part+" is no number from 0 to 255")
		}
		p.head = append(p.head, uint16(n))
	}
	return nil, badAddress(text, "a range may stand from the second number on")
}

// parseRange6 reads an address whose last part is "*" or a range, or whose last two are a range and "*".
func parseRange6(text string) (*addressPattern, error) {
	p := &addressPattern{isRange: true, wide: true}
	groups, tail := 7, text[strings.LastIndexByte(text, ':')+1:]
	rest := strings.TrimSuffix(text, tail)
	if tail == "*" && strings.Contains(rest, "-") {
		groups, rest = 6, strings.TrimSuffix(rest, ":")
		tail = rest[strings.LastIndexByte(rest, ':')+1:]
		rest = strings.TrimSuffix(rest, tail)
	}
	var err error
	if p.low, p.high, err = parseBounds(text, tail, 16, 0xffff); err != nil {
		return nil, err
	}
	// The address with the open groups as zeroes.
	filled := rest + strings.TrimSuffix(strings.Repeat("0:", 8-groups), ":")
	a, err := netip.ParseAddr(filled)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return nil, badAddress(text, "want an IPv6 address that ends in \"*\" or a range")
	}
	for i := range groups {
		p.head = append(p.head, group(a, i))
	}
	return p, nil
}

func parseBounds(text, part string, base int, most uint64) (low, high uint16, err error) {
	if part == "*" {
		return 0, uint16(most), nil
	}
	from, to, ok := strings.Cut(part, "-")
	a, errFrom := strconv.ParseUint(from, base, 16)
	b, errTo := strconv.ParseUint(to, base, 16)
	if !ok || errFrom != nil || errTo != nil || a > b || b > most {
		return 0, 0, badAddress(text, part+" is no range")
	}
	return uint16(a), uint16(b), nil
}
