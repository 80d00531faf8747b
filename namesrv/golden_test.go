package namesrv

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
)

// exchange is what a broker, client or tool of Apache asked Apache's name server, and the answer; none for a one-way request.
type exchange struct {
	Conversation string `json:"conversation"`
	Code         int32  `json:"code"`
	Request      []byte `json:"request"`
	Response     []byte `json:"response"`
}

func exchanges(t testing.TB) []exchange {
	f, err := os.Open("testdata/exchanges.jsonl.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var all []exchange
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e exchange
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		all = append(all, e)
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, all)
	return all
}

// What brokers, clients and tools asked Apache's name server gets the same answers here, byte for byte in the bodies.
func TestConversations(t *testing.T) {
	t.Parallel()
	byName := map[string][]exchange{}
	var masterRegisters []byte
	for _, e := range exchanges(t) {
		byName[e.Conversation] = append(byName[e.Conversation], e)
		if masterRegisters == nil && e.Code == codec.RegisterBroker {
			masterRegisters = e.Request
		}
	}
	for name, conversation := range byName {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options(t)
			s := open(t, opts)
			p := dial(t, s)
			if name == "broker-slave-to-namesrv" {
				p.send(masterRegisters)
				require.Equal(t, codec.Success, p.receive().Code)
			}
			for i, e := range conversation {
				var want codec.Command
				if e.Response != nil {
					require.NoError(t, codec.ParseFrame(e.Response, &want))
				}
				if e.Code == codec.RegisterBroker && len(want.Body) > 0 {
					// somebody had put an order configuration by then, and taken it away again
					require.NoError(t, s.kv.put(orderTopicNamespace, "T", "x"))
					require.NoError(t, s.kv.remove(orderTopicNamespace, "T"))
				}
				p.send(e.Request)
				if e.Response == nil {
					continue
				}
				got := p.receive()
				require.Equal(t, want.Opaque, got.Opaque, "%d: code %d", i, e.Code)
				require.Equal(t, want.Code, got.Code, "%d: code %d", i, e.Code)
				require.Equal(t, want.Remark, got.Remark, "%d: code %d", i, e.Code)
				require.Equal(t, codec.Version, got.Version, "a release of its own: the recordings are of 5.4.0")
				require.Equal(t, want.Flag, got.Flag)
				require.Equal(t, fieldsOf(&want), fieldsOf(got), "%d: code %d", i, e.Code)
				require.Equal(t, string(want.Body), string(got.Body), "%d: code %d", i, e.Code)
			}
		})
	}
}

func FuzzRegister(f *testing.F) {
	for _, e := range exchanges(f) {
		var c codec.Command
		if e.Code == codec.RegisterBroker && codec.ParseFrame(e.Request, &c) == nil {
			f.Add(c.Body, false, int32(493))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, compressed bool, version int32) {
		r, reg := newTestRoutes(), testRegistration("broker-a", 0, "10.0.0.1:1")
		peeked, ok := codec.PeekRegisterBrokerBody(data, compressed)
		body, err := codec.DecodeRegisterBrokerBody(data, compressed, version)
		if err != nil {
			return
		}
		table := &body.TopicConfigSerializeWrapper
		if ok && peeked != table.DataVersion {
			t.Skip("a member that stands twice")
		}
		if _, outcome := r.register(reg, body, newClock().now()); outcome == refused {
			return
		}
		for topic := range table.TopicConfigTable {
			for _, dialect := range []int{dialectBare, dialectStandard} {
				if _, _, err := r.body([]byte(topic), variant{0, dialect}, true); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.unregister(reg.cluster, reg.addr, reg.name)
		if len(r.topics)+len(r.brokers)+len(r.lives)+len(r.clusters) != 0 {
			t.Fatalf("left over: %v %v %v %v", r.topics, r.brokers, r.lives, r.clusters)
		}
	})
}
