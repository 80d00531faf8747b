package broker

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// advertisedIP is the address that a broker bound to bind tells clients to dial: configured if given, the bound address if
// it names one interface, otherwise the first IPv4 of an interface that is up and not loopback. Loopback is the answer only
// when there is nothing else. Apache: NetworkUtil.getLocalAddress.
func advertisedIP(configured, bind string, interfaces func() ([]net.Addr, error)) (netip.Addr, error) {
	if configured != "" {
		return resolve(configured)
	}
	if ip, err := netip.ParseAddr(bind); err == nil && !ip.IsUnspecified() {
		return ip, nil
	}
	addrs, err := interfaces()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list network interfaces: %w; set brokerIP1", err)
	}
	best := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := prefix.Addr().Unmap()
		switch {
		case ip.IsLoopback() || ip.IsLinkLocalUnicast():
		case ip.Is4():
			return ip, nil
		case best.IsLoopback():
			best = ip
		}
	}
	return best, nil
}

// resolve takes an address or a host name; the store host inside message ids has room for an address only.
func resolve(host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), nil
	}
	ips, err := net.LookupIP(host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("brokerIP1=%s is neither an address nor a host name that resolves: %w", host, err)
	}
	for _, ip := range ips {
		if v4 := ip.To4(); v4 != nil {
			return netip.AddrFrom4([4]byte(v4)), nil
		}
	}
	ip, _ := netip.AddrFromSlice(ips[0])
	return ip, nil
}

// dialSelf tells whether the address that clients will be given leads here.
func dialSelf(addr string, timeout time.Duration) error {
	conn, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		return err
	}
	return conn.Close()
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
