package compat

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func queryFields(topic, key string) map[string]string {
	return ext("topic", topic, "key", key, "maxNum", 32, "beginTimestamp", 0, "endTimestamp", nowMs()+3_600_000)
}

// queryFound polls until a query finds n records.
func queryFound(t testing.TB, c *client, fields map[string]string, n int) []record {
	t.Helper()
	var all []record
	eventually(t, 20*time.Second, func() error {
		res, err := c.call(codeQueryMessage, fields, nil)
		if err != nil {
			return err
		}
		if all, err = decodeRecords(res.Body); err != nil {
			return err
		}
		if res.Code != resSuccess || len(all) != n {
			return fmt.Errorf("%s: code %d, %d records of %d: %s", fields["key"], res.Code, len(all), n, res.Remark)
		}
		return nil
	})
	return all
}

func TestQuery(t *testing.T) {
	t.Parallel()
	t.Run("by key", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		for i, keys := range []string{"order-1", "order-2 shared", "shared"} {
			put(t, c, topic, 0, fmt.Sprint(i), props("KEYS", keys))
		}
		require.Equal(t, []string{"0"}, bodies(queryFound(t, c, queryFields(topic, "order-1"), 1)))
		require.ElementsMatch(t, []string{"1", "2"}, bodies(queryFound(t, c, queryFields(topic, "shared"), 2)))
		queryFound(t, c, with(queryFields(topic, "shared"), "maxNum", 1), 1)
		c.refused(t, resQueryNotFound, "can not find message, maybe time range not correct", codeQueryMessage, queryFields(topic, "nobody"), nil)
		c.refused(t, resQueryNotFound, "", codeQueryMessage, with(queryFields(topic, "shared"), "endTimestamp", nowMs()-3_600_000), nil)
		c.refused(t, resQueryNotFound, "", codeQueryMessage, queryFields(unique("T"), "shared"), nil)
	})

	t.Run("by the unique key", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		res := c.ok(t, codeSendMessage, sendFields(topic, 0, ""), []byte("find me"))
		fields := with(queryFields(topic, res.Ext["transactionId"]), "_UNIQUE_KEY_QUERY", true)
		require.Equal(t, []string{"find me"}, bodies(queryFound(t, c, fields, 1)))
	})

	t.Run("by message id", func(t *testing.T) {
		tg := onShared(t)
		topic := newTopic(t, tg, 1)
		c := connect(t, tg.Broker())
		for _, body := range []string{"first", "second"} {
			res := c.ok(t, codeSendMessage, sendFields(topic, 0, ""), []byte(body))
			host, physOffset := parseMessageID(t, res.Ext["msgId"])
			require.Equal(t, tg.Broker(), host.String())
			found := c.ok(t, codeViewMessageByID, ext("offset", physOffset), nil)
			all, err := decodeRecords(found.Body)
			require.NoError(t, err)
			require.Equal(t, []string{body}, bodies(all))
			require.Equal(t, physOffset, all[0].PhysOffset)
		}
		c.refused(t, resSystemError, "can not find message by the offset, 999999999999", codeViewMessageByID, ext("offset", int64(999999999999)), nil)
	})
}

// parseMessageID takes an offset message id apart: host, port and physical offset in hexadecimal.
func parseMessageID(t testing.TB, id string) (netip.AddrPort, int64) {
	t.Helper()
	b, err := hex.DecodeString(id)
	require.NoError(t, err)
	require.Len(t, b, 16)
	port := uint16(b[6])<<8 | uint16(b[7])
	var physOffset int64
	for _, c := range b[8:] {
		physOffset = physOffset<<8 | int64(c)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), port), physOffset
}
