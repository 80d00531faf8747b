package broker

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAdvertisedIP(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, configured, bind string
		interfaces             []string
		want                   string
	}{
		{"configured wins", "192.0.2.7", "0.0.0.0", []string{"10.0.0.1/8"}, "192.0.2.7"},
		{"bound to one interface", "", "10.1.1.1", []string{"10.0.0.1/8"}, "10.1.1.1"},
		{"bound to loopback only", "", "127.0.0.1", []string{"10.0.0.1/8"}, "127.0.0.1"},
		{"first that is not loopback", "", "0.0.0.0", []string{"127.0.0.1/8", "169.254.1.1/16", "10.0.0.1/8", "10.0.0.2/8"}, "10.0.0.1"},
		{"IPv4 before IPv6", "", "::", []string{"2001:db8::1/64", "10.0.0.1/8"}, "10.0.0.1"},
		{"IPv6 when nothing else", "", "::", []string{"::1/128", "2001:db8::1/64"}, "2001:db8::1"},
		{"nothing but loopback", "", "0.0.0.0", []string{"127.0.0.1/8"}, "127.0.0.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ip, err := advertisedIP(tc.configured, tc.bind, func() ([]net.Addr, error) {
				var addrs []net.Addr
				for _, cidr := range tc.interfaces {
					ip, network, err := net.ParseCIDR(cidr)
					require.NoError(t, err)
					addrs = append(addrs, &net.IPNet{IP: ip, Mask: network.Mask})
				}
				return addrs, nil
			})
			require.NoError(t, err)
			require.Equal(t, tc.want, ip.String())
		})
	}
}
