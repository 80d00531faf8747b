package admin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apogee-mq/apogee/codec"
)

// putKV writes a value at every name server.
func (s *session) putKV(namespace, key, value string) error {
	return s.everyNamesrv(func() *codec.Command {
		return request(codec.PutKVConfig, "namespace", namespace, "key", key, "value", value)
	})
}

// deleteKV deletes a value at every name server.
func (s *session) deleteKV(namespace, key string) error {
	return s.everyNamesrv(func() *codec.Command { return request(codec.DeleteKVConfig, "namespace", namespace, "key", key) })
}

// getKV reads a value from a name server.
func (s *session) getKV(namespace, key string) (string, error) {
	resp, err := s.namesrv(func() *codec.Command { return request(codec.GetKVConfig, "namespace", namespace, "key", key) })
	if err != nil {
		return "", fmt.Errorf("read %s of %s: %w", key, namespace, err)
	}
	return answer(resp, "value"), nil
}

// answer returns a field of an answer, empty when it has none.
func answer(c *codec.Command, key string) string {
	value, _ := c.Field(key)
	return string(value)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// nameOfAddr returns the broker name that has an address, empty if none has.
func nameOfAddr(info *codec.ClusterInfo, addr string) string {
	for _, name := range sortedKeys(info.BrokerAddrTable) {
		for _, a := range info.BrokerAddrTable[name].BrokerAddrs {
			if a == addr {
				return name
			}
		}
	}
	return ""
}

// javaMap is a map as Java prints it.
func javaMap[V any](m map[string]V) string {
	var parts []string
	for _, key := range sortedKeys(m) {
		parts = append(parts, fmt.Sprintf("%s=%v", key, m[key]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// javaList is a list as Java prints it.
func javaList[T any](list []T) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = fmt.Sprint(v)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
