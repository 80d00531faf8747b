package remoting

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// proxyV2 makes a header of version 2.
func proxyV2(command, family byte, source, destination netip.AddrPort, more int) []byte {
	b := append([]byte(proxySign), 0x20|command, family)
	addrs := append(source.Addr().AsSlice(), destination.Addr().AsSlice()...)
	addrs = binary.BigEndian.AppendUint16(addrs, source.Port())
	addrs = binary.BigEndian.AppendUint16(addrs, destination.Port())
	addrs = append(addrs, make([]byte, more)...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(addrs))), addrs...)
}

func TestProxyHeaders(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParseAddrPort("203.0.113.7:5000"), netip.MustParseAddrPort("[2001:db8::7]:5000")
	to4, to6 := netip.MustParseAddrPort("198.51.100.1:10911"), netip.MustParseAddrPort("[2001:db8::1]:10911")
	for _, tt := range []struct {
		name, head string
		source     netip.AddrPort
		err        string
	}{
		{name: "line, IPv4", head: "PROXY TCP4 203.0.113.7 198.51.100.1 5000 10911\r\n", source: v4},
		{name: "line, IPv6", head: "PROXY TCP6 2001:db8::7 2001:db8::1 5000 10911\r\n", source: v6},
		{name: "line, unknown", head: "PROXY UNKNOWN whatever\r\n"},
		{name: "line of another family", head: "PROXY TCP6 203.0.113.7 198.51.100.1 5000 10911\r\n", err: "not an address"},
		{name: "line without ports", head: "PROXY TCP4 203.0.113.7 198.51.100.1\r\n", err: "is not a header"},
		{name: "line with a port too high", head: "PROXY TCP4 203.0.113.7 198.51.100.1 70000 10911\r\n", err: "is not a port"},
		{name: "line, UDP", head: "PROXY UDP4 203.0.113.7 198.51.100.1 5000 10911\r\n", err: "is not a header"},
		{name: "line, a host's name", head: "PROXY TCP4 localhost 198.51.100.1 5000 10911\r\n", err: "not an address"},
		{name: "line without end", head: "PROXY " + strings.Repeat("x", 200), err: "does not end"},
		{name: "binary, IPv4", head: string(proxyV2(1, 0x11, v4, to4, 0)), source: v4},
		{name: "binary, IPv4, more values", head: string(proxyV2(1, 0x11, v4, to4, 500)), source: v4},
		{name: "binary, IPv6", head: string(proxyV2(1, 0x21, v6, to6, 0)), source: v6},
		{name: "binary, local", head: string(proxyV2(0, 0x00, v4, to4, 0))},
		{name: "binary, Unix", head: string(proxyV2(1, 0x31, v4, to4, 204))},
		{name: "binary, UDP", head: string(proxyV2(1, 0x12, v4, to4, 0)), err: "are not TCP"},
		{name: "binary, command", head: string(proxyV2(7, 0x11, v4, to4, 0)), err: "command 7"},
		{name: "binary, version", head: strings.Replace(string(proxyV2(1, 0x11, v4, to4, 0)), "\n\x21", "\n\x31", 1), err: "version 3"},
		{name: "binary, addresses missing", head: string(proxyV2(1, 0x21, v4, to4, 0)), err: "too few"},
		{name: "binary, absurd length", head: string(proxyV2(1, 0x11, v4, to4, 60_000)), err: "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for n := 1; n < len(tt.head) && tt.err == ""; n++ {
				require.True(t, beginsProxy([]byte(tt.head[:n])))
				_, used, err := parseProxy([]byte(tt.head[:n]))
				require.NoError(t, err)
				require.Zero(t, used, "after %d bytes", n)
			}
			h, used, err := parseProxy([]byte(tt.head + "\x00\x00")[:min(len(tt.head)+2, maxProxyBytes)])
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, len(tt.head), used)
			require.Equal(t, tt.source, h.source)
		})
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 198.51.100.1 5000 10911\r\n"))
	f.Add(proxyV2(1, 0x11, netip.MustParseAddrPort("203.0.113.7:5000"), netip.MustParseAddrPort("198.51.100.1:1"), 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !beginsProxy(b) {
			return
		}
		if _, used, err := parseProxy(b); err != nil || used > len(b) {
			require.Error(t, err)
		}
	})
}

// The client's own address is what handlers see, with and without TLS behind the header, in whatever pieces it arrives.
func TestAddressOfTheClientBehindAProxy(t *testing.T) {
	t.Parallel()
	remote := func(req *Request) (*codec.Command, error) {
		resp := req.Response(0)
		resp.Body = []byte(req.Conn.RemoteAddr().String())
		return resp, nil
	}
	s := serveTLS(t, TLSPermissive, []Entry{{Code: 1000, Inline: true, Handler: remote}}, nil)
	line := []byte("PROXY TCP4 203.0.113.7 198.51.100.1 5000 10911\r\n")
	binary6 := proxyV2(1, 0x21, netip.MustParseAddrPort("[2001:db8::7]:5000"), netip.MustParseAddrPort("[2001:db8::1]:1"), 10)
	for _, tt := range []struct {
		head []byte
		want string
	}{{line, "203.0.113.7:5000"}, {binary6, "[2001:db8::7]:5000"}} {
		whole := dial(t, s)
		whole.send(tt.head, request(1000, 1, ""), request(1000, 2, ""))
		require.Equal(t, tt.want, string(whole.receive().Body))
		require.Equal(t, tt.want, string(whole.receive().Body))

		dribbled := dial(t, s)
		for _, b := range append(tt.head, request(1000, 1, "")...) {
			dribbled.send([]byte{b})
		}
		require.Equal(t, tt.want, string(dribbled.receive().Body))

		secured := dial(t, s)
		secured.send(tt.head)
		tc := tls.Client(secured.Conn, &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, tc.Handshake())
		secured.Conn, secured.r = tc, bufio.NewReader(tc)
		secured.send(request(1000, 1, ""))
		require.Equal(t, tt.want, string(secured.receive().Body))
	}
	unknown := dial(t, s)
	unknown.send([]byte("PROXY UNKNOWN\r\n"), request(1000, 1, ""))
	require.Equal(t, unknown.Conn.LocalAddr().String(), string(unknown.receive().Body))
}

func TestProxyHeadersThatAreNotTaken(t *testing.T) {
	t.Parallel()
	log := new(logLines)
	s := serve(t, nil, func(o *Options) {
		var err error
		o.ProxySources, err = ParseProxySources("10.0.0.0/8, 192.0.2.1")
		require.NoError(t, err)
		o.Logger = log.logger()
	})
	for _, head := range []string{"PROXY TCP4 203.0.113.7 198.51.100.1 5000 10911\r\n", "PROXY nonsense\r\n", "PROXY " + strings.Repeat("x", 5000)} {
		c := dial(t, s)
		_, _ = c.Write([]byte(head))
		c.receiveClose(head[:10])
	}
	eventually(t, "said once", func() bool { return strings.Count(log.String(), "PROXY header") == 1 })
	require.Contains(t, log.String(), "proxyProtocolSources")
	c := dial(t, s)
	c.send(request(codeEcho, 1, "a"))
	c.receive()
}

func TestProxySources(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][3]bool{ // 10.1.2.3, 8.8.8.8, 127.0.0.1
		"": {}, "none": {}, "*": {true, true, true}, "private": {true, false, true}, "8.8.8.0/24": {false, true, false}, "10.1.2.3;127.0.0.1": {true, false, true},
	} {
		s, err := ParseProxySources(text)
		require.NoError(t, err)
		for i, addr := range []string{"10.1.2.3", "8.8.8.8", "127.0.0.1"} {
			require.Equal(t, want[i], s.Contains(netip.MustParseAddr(addr)), "%q %s", text, addr)
		}
	}
	_, err := ParseProxySources("some.host")
	require.Error(t, err)
}

func TestOtherProtocolsAreNamed(t *testing.T) {
	t.Parallel()
	log := new(logLines)
	s := serve(t, nil, func(o *Options) { o.Logger = log.logger() })
	c := dial(t, s)
	c.send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	c.receiveClose("HTTP")
	eventually(t, "said", func() bool { return strings.Contains(log.String(), "this is HTTP") })
}
