package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/apogee-mq/apogee/broker"
)

// protocolName is the release of Apache RocketMQ that clients are told, codec.Version by name.
const protocolName = "V5_5_0"

func versionLine() string {
	return fmt.Sprintf("Apogee %s (commit %s), RocketMQ protocol %s", version, commit, protocolName)
}

// banner is the one screen that a server shows when it is ready.
type banner struct {
	started  time.Time
	namesrv  netip.AddrPort // not valid: none in this process
	namesrvs string         // name servers elsewhere
	broker   *broker.Broker // nil: none in this process
	data     string
}

func (b banner) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n\n", versionLine())
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-14s%s\n", name, fmt.Sprintf(format, args...))
	}
	if b.namesrv.IsValid() {
		line("name server", "%-22s clients set  NAMESRV_ADDR=%s", b.namesrv, b.clientNamesrv())
	} else if b.namesrvs != "" {
		line("registered at", "%s", b.namesrvs)
	}
	if b.broker != nil {
		for i, addr := range b.broker.Listeners {
			switch i {
			case 0:
				line("broker", "%-22s clients are given  %s", addr, b.broker.Addr)
			case 1:
				line("VIP port", "%-22s clients are given  %s", addr, netip.AddrPortFrom(b.broker.Addr.Addr(), addr.Port()))
			default:
				line("broker", "%-22s one of listeners", addr)
			}
		}
		if addr := b.broker.HTTPAddr(); addr.IsValid() {
			line("metrics", "%-22s /metrics, /healthz, /readyz", addr)
		}
		if data, err := filepath.Abs(b.data); err == nil {
			line("data", "%s", data)
		}
	}
	line("ready", "after %s", time.Since(b.started).Round(time.Millisecond))
	line("stop", "Ctrl-C, or kill -TERM %d", os.Getpid())
	if b.namesrv.IsValid() && b.broker != nil {
		line("first message", "%s admin sendMessage -n 127.0.0.1:%s -t TopicTest -p \"Hello, Apogee\"", program(), strconv.Itoa(int(b.namesrv.Port())))
	}
	fmt.Fprintln(w)
}

// clientNamesrv is the name server's address for clients: the broker's advertised host when it listens everywhere.
func (b banner) clientNamesrv() netip.AddrPort {
	switch {
	case !b.namesrv.Addr().IsUnspecified():
		return b.namesrv
	case b.broker != nil:
		return netip.AddrPortFrom(b.broker.Addr.Addr(), b.namesrv.Port())
	default:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), b.namesrv.Port())
	}
}

// program is how the user called this binary, so that the line can be pasted.
func program() string {
	if strings.ContainsRune(os.Args[0], os.PathSeparator) {
		return os.Args[0]
	}
	return "apogee"
}
