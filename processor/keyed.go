package processor

import (
	"bytes"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/store"
)

// Topics with cleanup.policy=COMPACTION keep the newest message of each key, so every message needs KEYS.
//
// Behavior:
// * Apache's broker looks only at messages that come one by one; one of a batch that has no keys is stored and can never be
//   read. Here the batch is refused.
//
// Apache: SendMessageProcessor.sendMessage, CleanupPolicyUtils.

const remarkKeyMissing = "Required message key is missing"

// checkKeys refuses a message without keys for a compaction topic.
func checkKeys(topic *codec.TopicConfig, keys []byte) error {
	if store.KeepsNewest(topic) && len(bytes.TrimSpace(keys)) == 0 {
		return refuse(codec.MessageIllegal, remarkKeyMissing)
	}
	return nil
}

// checkBatchKeys is checkKeys for the messages of a batch. A broken batch passes: the store refuses it.
func checkBatchKeys(topic *codec.TopicConfig, body []byte) error {
	if !store.KeepsNewest(topic) {
		return nil
	}
	for it := codec.NewBatchIter(body); it.Next(); {
		keys, _ := codec.Property(it.Properties, codec.PropKeys)
		if err := checkKeys(topic, keys); err != nil {
			return err
		}
	}
	return nil
}
