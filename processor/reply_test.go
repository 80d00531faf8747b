package processor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

func TestReplyIsPushedAndStored(t *testing.T) {
	t.Parallel()
	asked := func(code int32) func(*codec.Command) (*codec.Command, error) {
		return func(c *codec.Command) (*codec.Command, error) { return &codec.Command{Code: code, Remark: "no"}, nil }
	}
	props := propText("MSG_TYPE", "reply", "REPLY_TO_CLIENT", "asker", "UNIQ_KEY", "U", "CORRELATION_ID", "c1")
	for _, tt := range []struct {
		name   string
		props  string
		call   func(*codec.Command) (*codec.Command, error)
		keep   bool
		want   int32
		remark string
		msgID  string
	}{
		{name: "pushed and stored", props: props, call: asked(0), keep: true, msgID: "7F000002000051AF0000000000000000"},
		{name: "pushed", props: props, call: asked(0), msgID: "0"},
		{name: "asker refuses", props: props, call: asked(1), keep: true, want: 1, remark: "push reply message to askerfail.", msgID: "7F000002000051AF0000000000000000"},
		{name: "asker does not answer", props: props, want: 1, remark: "push reply message to askerfail."},
		{name: "asker unknown", props: propText("REPLY_TO_CLIENT", "other"), keep: true, want: 1, msgID: "7F000002000051AF0000000000000000",
			remark: "push reply message fail, channel of <other> not found."},
		{name: "nobody to reply to", props: propText("k", "v"), want: 1, remark: "reply message properties[REPLY_TO_CLIENT] is null"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newRig(t)
			b.set(func(s *Settings) { s.StoreReply = tt.keep })
			asker := newFakeConn("127.0.0.1:1")
			asker.call = tt.call
			b.clients.producers["asker"] = asker
			head := sendFields("FixtureCluster_REPLY_TOPIC", fields{"i": tt.props, "f": "1"})
			got := b.request(codec.SendReplyMessageV2, head, "answer")
			require.Equal(t, tt.want, got.Code, got.Remark)
			require.Equal(t, tt.remark, got.Remark)
			want := fields{"MSG_REGION": "DefaultRegion", "TRACE_ON": "true"}
			if tt.msgID != "" {
				want = want.with(fields{"msgId": tt.msgID, "queueId": "0", "queueOffset": "0"})
			}
			require.Equal(t, want, got.Fields)
			if !tt.keep {
				require.Zero(t, b.store.Written())
				return
			}
			m := b.at("FixtureCluster_REPLY_TOPIC", 0, 0)
			stored := propMap([]byte(tt.props))
			stored["MSG_REGION"], stored["TRACE_ON"] = "DefaultRegion", "true"
			require.Equal(t, stored, propMap(m.Properties))
			require.Zero(t, m.SysFlag)
		})
	}
}

func TestReplyPushHasWhatTheAskerNeeds(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	asker := newFakeConn("127.0.0.1:1")
	var pushed codec.Command
	asker.call = func(c *codec.Command) (*codec.Command, error) {
		require.NoError(t, codec.ParseFrame(codec.AppendFrame(nil, c), &pushed))
		return &codec.Command{}, nil
	}
	b.clients.producers["asker"] = asker
	head := sendFields("FixtureCluster_REPLY_TOPIC", fields{"i": propText("REPLY_TO_CLIENT", "asker"), "f": "1", "h": "9"})
	require.Equal(t, int32(0), b.request(codec.SendReplyMessageV2, head, "answer").Code)
	require.Equal(t, codec.PushReplyMessageToClient, pushed.Code)
	require.Equal(t, "answer", string(pushed.Body))
	got := fields{}
	for it := pushed.Fields(); it.Next(); {
		got[string(it.Key)] = string(it.Value)
	}
	require.Equal(t, fields{
		"queueId": "0", "flag": "9", "sysFlag": "1", "reconsumeTimes": "0", "storeTimestamp": "1795226366000", "unitMode": "false",
		"defaultTopic": "TBW102", "bornHost": "127.0.0.1:60802", "defaultTopicQueueNums": "4", "producerGroup": "PG",
		"topic": "FixtureCluster_REPLY_TOPIC", "bornTimestamp": "1700000000000", "storeHost": "127.0.0.2:20911",
		"properties": propText("PUSH_REPLY_TIME", "1795226366000", "REPLY_TO_CLIENT", "asker", "MSG_REGION", "DefaultRegion", "TRACE_ON", "true"),
	}, got)
}

func TestReplyRefusals(t *testing.T) {
	t.Parallel()
	b := newRig(t)
	got := b.request(codec.SendReplyMessageV2, sendFields("SCHEDULE_TOPIC_XXXX", nil), "answer")
	require.Equal(t, codec.NoPermission, got.Code)
	got = b.request(codec.SendReplyMessageV2, sendFields("FixtureCluster_REPLY_TOPIC", nil), "")
	require.Equal(t, codec.SystemError, got.Code)
	for _, e := range b.Table() {
		if e.Code == codec.SendReplyMessage || e.Code == codec.SendReplyMessageV2 {
			require.False(t, e.Inline, "a reply waits for another machine")
			require.NotEqual(t, remoting.PoolSend, e.Pool)
		}
	}
}
