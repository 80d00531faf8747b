package remoting

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol: a load balancer tells in front of a connection's bytes whose it is. Version 1 is a line, version 2
//
//	0             12    13       14      16
//	| signature   | v/c | family | length | addresses, then further values |
//
// No frame begins with either: it would be too long. Apache: HandshakeHandler, HAProxyMessageHandler.

const (
	proxyLine     = "PROXY "
	proxySign     = "\r\n\r\n\x00\r\nQUIT\n"
	maxProxyLine  = 107 // of the protocol
	maxProxyBytes = 4 << 10
	proxyHead     = 16 // bytes before the addresses of version 2
)

// proxied is what a header says. A source that is not valid leaves the connection's own.
type proxied struct{ source netip.AddrPort }

// beginsProxy reports whether bytes begin with a header, as far as they go.
func beginsProxy(head []byte) bool {
	return begins(head, proxyLine) || begins(head, proxySign)
}

func begins(head []byte, prefix string) bool {
	n := min(len(head), len(prefix))
	return n > 0 && string(head[:n]) == prefix[:n]
}

// parseProxy reads a header and returns its length, 0 when more bytes are needed.
func parseProxy(head []byte) (h proxied, used int, err error) {
	if begins(head, proxyLine) {
		return parseProxyLine(head)
	}
	if len(head) < proxyHead {
		return h, 0, nil
	}
	size := proxyHead + int(binary.BigEndian.Uint16(head[14:]))
	if version := head[12] >> 4; version != 2 {
		return h, 0, fmt.Errorf("version %d is unknown", version)
	}
	if size > maxProxyBytes {
		return h, 0, fmt.Errorf("%d bytes are more than %d", size, maxProxyBytes)
	}
	if len(head) < size {
		return h, 0, nil
	}
	switch command := head[12] & 15; command {
	case 0: // the proxy speaks for itself
		return h, size, nil
	case 1:
	default:
		return h, 0, fmt.Errorf("command %d is unknown", command)
	}
	var addrBytes int
	switch head[13] {
	case 0x11:
		addrBytes = 4
	case 0x21:
		addrBytes = 16
	case 0x00, 0x31: // unknown, or a socket of Unix
		return h, size, nil
	default:
		return h, 0, fmt.Errorf("address family and protocol %#02x are not TCP", head[13])
	}
	if size < proxyHead+2*addrBytes+4 {
		return h, 0, fmt.Errorf("%d bytes are too few for its addresses", size)
	}
	ip, _ := netip.AddrFromSlice(head[proxyHead : proxyHead+addrBytes])
	h.source = netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(head[proxyHead+2*addrBytes:]))
	return h, size, nil
}

// parseProxyLine reads a header of version 1.
func parseProxyLine(head []byte) (h proxied, used int, err error) {
	end := bytes.Index(head, []byte("\r\n"))
	if end < 0 || end+2 > maxProxyLine {
		if len(head) < maxProxyLine && end < 0 {
			return h, 0, nil
		}
		return h, 0, fmt.Errorf("the line does not end within %d bytes", maxProxyLine)
	}
	words := strings.Split(string(head[:end]), " ")
	if words[1] == "UNKNOWN" {
		return h, end + 2, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return h, 0, fmt.Errorf("%q is not a header", head[:end])
	}
	ip, err := netip.ParseAddr(words[2])
	if err != nil || ip.Zone() != "" || ip.Is4() != (words[1] == "TCP4") {
		return h, 0, fmt.Errorf("%q is not an address of %s", words[2], words[1])
	}
	port, err := strconv.ParseUint(words[4], 10, 16)
	if err != nil {
		return h, 0, fmt.Errorf("%q is not a port", words[4])
	}
	h.source = netip.AddrPortFrom(ip.Unmap(), uint16(port))
	return h, end + 2, nil
}

// ProxySources are the addresses from which a PROXY header is believed. The zero value is none.
type ProxySources struct {
	all      bool
	private  bool
	prefixes []netip.Prefix
}

// PrivateProxySources believes proxies with private, loopback and link-local addresses.
func PrivateProxySources() ProxySources { return ProxySources{private: true} }

// carrierPrefix is the shared address space of RFC 6598, in which load balancers of clouds live.
var carrierPrefix = netip.MustParsePrefix("100.64.0.0/10")

// ParseProxySources reads addresses and networks separated by commas. "private" is all private, loopback and link-local ones, "*" all,
// "none" none.
func ParseProxySources(text string) (ProxySources, error) {
	var s ProxySources
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		switch word {
		case "*":
			s.all = true
		case "private":
			s.private = true
		case "none":
		default:
			prefix, err := netip.ParsePrefix(word)
			if err != nil {
				ip, ipErr := netip.ParseAddr(word)
				if ipErr != nil {
					return s, errors.New("want addresses or networks separated by commas, private, * or none")
				}
				prefix = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen())
			}
			s.prefixes = append(s.prefixes, prefix)
		}
	}
	return s, nil
}

// Contains reports whether a header from that address is believed.
func (s *ProxySources) Contains(addr netip.Addr) bool {
	if s.all || s.private && (addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || carrierPrefix.Contains(addr)) {
		return true
	}
	for _, p := range s.prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
