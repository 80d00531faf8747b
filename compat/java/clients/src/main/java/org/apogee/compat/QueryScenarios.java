package org.apogee.compat;

import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages found by id and by key. */
final class QueryScenarios {
    private QueryScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("query-by-key", QueryScenarios::byKey);
        all.put("query-by-unique-key", QueryScenarios::byUniqueKey);
        all.put("query-by-offset-id", QueryScenarios::byOffsetId);
    }

    static void byOffsetId(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        Message msg = env.message(topic, "q");
        SendResult sent = p.send(msg);
        MessageExt got = p.viewMessage(topic, sent.getOffsetMsgId());
        Check.sameBytes(msg.getBody(), got.getBody(), "body");
        Check.equal(sent.getMsgId(), got.getMsgId(), "unique id");
        Check.equal(sent.getQueueOffset(), got.getQueueOffset(), "queue offset");
        var id = MessageDecoder.decodeMessageId(sent.getOffsetMsgId());
        long beyond = id.getOffset() + (1L << 40);
        var answer = env.servers.call(env.servers.broker(), 33, Map.of("offset", String.valueOf(beyond)), null);
        Check.equal(1, answer.getCode(), "code for an offset where nothing is");
        Check.contains("can not find message by the offset, " + beyond, answer.getRemark());
    }

    static void byKey(Env env) throws Exception {
        String topic = env.topic(2);
        String other = env.topic(1);
        DefaultMQProducer p = env.producer();
        String key = env.name("shared");
        long before = System.currentTimeMillis() - 5000;
        for (int i = 0; i < 3; i++) {
            p.send(new Message(topic, "q", key + " second" + i, new byte[] {(byte) i}));
        }
        p.send(new Message(other, "q", key, new byte[] {9}));
        long after = System.currentTimeMillis() + 5000;
        QueryResult got = Check.eventually(Check.SOON, () -> {
            QueryResult r = p.queryMessage(topic, key, 32, before, after);
            Check.equal(3, r.getMessageList().size(), "messages with the key");
            return r;
        });
        List<Byte> bodies = got.getMessageList().stream().map(m -> m.getBody()[0]).sorted()
            .collect(Collectors.toList());
        Check.equal(List.of((byte) 0, (byte) 1, (byte) 2), bodies, "bodies");
        Check.equal(1, p.queryMessage(topic, "second1", 32, before, after).getMessageList().size(), "second key");
        Check.equal(2, p.queryMessage(topic, key, 2, before, after).getMessageList().size(), "at most two");
        Check.fails(MQClientException.class, () -> p.queryMessage(topic, env.name("nobody"), 32, before, after));
        Check.fails(MQClientException.class,
            () -> p.queryMessage(topic, key, 32, before - 3_600_000, before - 1_800_000));
    }

    static void byUniqueKey(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        Message msg = env.message(topic, "q");
        SendResult sent = p.send(msg);
        MessageExt got = Check.eventually(Check.SOON, () -> {
            MessageExt m = p.viewMessage(topic, sent.getMsgId());
            Check.that(m != null, "no message with the unique id");
            return m;
        });
        Check.sameBytes(msg.getBody(), got.getBody(), "body");
        Check.equal(msg.getKeys(), got.getKeys(), "keys");
        Check.equal(sent.getQueueOffset(), got.getQueueOffset(), "queue offset");
    }
}
