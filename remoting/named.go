package remoting

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// maxNamed bounds a list of named addresses, and maxNameBytes a name.
const (
	maxNamed     = 8
	maxNameBytes = 32
	maxHostBytes = 253
)

// NamedAddr is an address under the name of a listener.
type NamedAddr struct{ Name, Addr string }

// ParseListeners reads "NAME=PORT;NAME=HOST:PORT": further addresses to listen on, those without a host on the host of bind.
func ParseListeners(text, bind string) ([]NamedAddr, error) {
	return parseNamed(text, func(value string) (string, error) {
		if !strings.Contains(value, ":") {
			value = net.JoinHostPort(bind, value)
		}
		return value, checkHostPort(value)
	})
}

// ParseNamedAddrs reads "NAME=HOST:PORT;NAME=HOST:PORT": addresses that peers are given.
func ParseNamedAddrs(text string) ([]NamedAddr, error) {
	return parseNamed(text, func(value string) (string, error) {
		if host, _, _ := net.SplitHostPort(value); host == "" {
			return "", fmt.Errorf("%q is not HOST:PORT", value)
		}
		return value, checkHostPort(value)
	})
}

func parseNamed(text string, parse func(string) (string, error)) (all []NamedAddr, err error) {
	names := make(map[string]bool)
	for _, entry := range strings.Split(text, ";") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, value, ok := strings.Cut(entry, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok || !isListenerName(name):
			return nil, fmt.Errorf("%.300q: want NAME=ADDRESS, the name of at most %d letters, digits, - and _", entry, maxNameBytes)
		case names[name]:
			return nil, fmt.Errorf("%s is there twice", name)
		case len(all) == maxNamed:
			return nil, fmt.Errorf("more than %d entries", maxNamed)
		}
		names[name] = true
		if value, err = parse(value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, NamedAddr{name, value})
	}
	return all, nil
}

func isListenerName(name string) bool {
	return name != "" && len(name) <= maxNameBytes && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// checkHostPort refuses what clients cannot read out of a route: they split its text at commas, quotes and blanks.
func checkHostPort(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || len(host) > maxHostBytes || strings.ContainsFunc(host, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`,"'{}[]\/=`, r)
	}) {
		return fmt.Errorf("%.300q is not HOST:PORT", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("%.300q: want a port of 1 to 65535", addr)
	}
	return nil
}
