package admin

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// sendMessageCommand sends one message. Apache: SendMessageCommand.
func sendMessageCommand(failed func(error) error) *cobra.Command {
	var namesrv, topic, body, tags, keys, broker string
	var queueID int32
	cmd := &cobra.Command{
		Use:   "sendMessage -n namesrv -t topic -p body",
		Short: "Send one message",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := remoting.NewClient(remoting.DefaultClientOptions())
			defer client.Close()
			m := message{topic: topic, body: body, tags: tags, keys: keys, broker: broker, queueID: queueID}
			sent, err := m.send(cmd.Context(), client, namesrv)
			if err != nil {
				return failed(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%-32s  %-4s  %-20s  %s\n", "#Broker Name", "#QID", "#Send Result", "#MsgId")
			fmt.Fprintf(cmd.OutOrStdout(), "%-32s  %-4s  %-20s  %s\n", sent.broker, sent.queueID, "SEND_OK", sent.msgID)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&namesrv, "namesrvAddr", "n", "127.0.0.1:9876", "name servers, separated by \";\"")
	f.StringVarP(&topic, "topic", "t", "", "topic to send to")
	f.StringVarP(&body, "body", "p", "", "the message's body, UTF-8")
	f.StringVarP(&keys, "key", "k", "", "keys, separated by blanks")
	f.StringVarP(&tags, "tags", "c", "", "tag")
	f.StringVarP(&broker, "broker", "b", "", "broker to send to; the first of the topic's route if empty")
	f.Int32VarP(&queueID, "qid", "i", -1, "queue; -1 lets the broker choose")
	for _, name := range []string{"topic", "body"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}

// message is what sendMessage was asked to send, sentMessage where it went.
type message struct {
	topic, body, tags, keys, broker string
	queueID                         int32
}

type sentMessage struct{ broker, queueID, msgID string }

func (m *message) send(ctx context.Context, client *remoting.Client, namesrv string) (sentMessage, error) {
	broker, addr, err := findBroker(ctx, client, namesrv, m.topic, m.broker)
	if err != nil {
		return sentMessage{}, err
	}
	var props []byte
	for _, p := range []codec.Field{{Key: codec.PropTags, Value: m.tags}, {Key: codec.PropKeys, Value: m.keys}} {
		if p.Value != "" {
			props = codec.AppendProperty(props, p.Key, p.Value)
		}
	}
	resp, err := call(ctx, client, addr, &codec.Command{Code: codec.SendMessageV2, Body: []byte(m.body), Extra: []codec.Field{
		{Key: "a", Value: "TOOLS_PRODUCER"}, {Key: "b", Value: m.topic}, {Key: "c", Value: "TBW102"}, {Key: "d", Value: "4"},
		{Key: "e", Value: strconv.Itoa(int(m.queueID))}, {Key: "f", Value: "0"},
		{Key: "g", Value: strconv.FormatInt(time.Now().UnixMilli(), 10)}, {Key: "h", Value: "0"},
		{Key: "i", Value: string(props)}, {Key: "j", Value: "0"}, {Key: "k", Value: "false"}, {Key: "m", Value: "false"},
	}})
	if err != nil {
		return sentMessage{}, fmt.Errorf("send to topic %s on %s: %w", m.topic, addr, err)
	}
	queueID, _ := resp.Field("queueId")
	msgID, _ := resp.Field("msgId")
	return sentMessage{broker, string(queueID), string(msgID)}, nil
}
