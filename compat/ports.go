package compat

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// ports of one target. The broker's second port is broker-2, that of replication broker+1.
type ports struct {
	namesrv int
	broker  int
}

var given struct {
	mu   sync.Mutex
	used map[int]bool
}

// Below the range that the kernel gives to outgoing connections, so that none takes a port between choice and use.
const (
	firstPort = 20000
	lastPort  = 31900
)

// pickPorts chooses free ports, none of which this process has given before.
func pickPorts() (ports, error) {
	given.mu.Lock()
	defer given.mu.Unlock()
	if given.used == nil {
		given.used = map[int]bool{}
	}
	for range 200 {
		base := firstPort + rand.IntN(lastPort-firstPort)
		p := ports{namesrv: base, broker: base + 4}
		if all := []int{p.namesrv, p.broker - 2, p.broker, p.broker + 1}; free(all) {
			for _, n := range all {
				given.used[n] = true
			}
			return p, nil
		}
	}
	return ports{}, errors.New("no free ports found")
}

func free(all []int) bool {
	for _, n := range all {
		if given.used[n] {
			return false
		}
		l, err := net.Listen("tcp", ":"+strconv.Itoa(n))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
