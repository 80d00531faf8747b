package org.apogee.compat;

import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Offsets asked from the broker by hand, because the clients answer some of these from what they remember. */
final class Offsets {
    private static final int QUERY_CONSUMER_OFFSET = 14;
    private static final int UPDATE_CONSUMER_OFFSET = 15;
    private static final int SEARCH_OFFSET_BY_TIMESTAMP = 29;
    private static final int QUERY_NOT_FOUND = 22;

    private Offsets() {
    }

    /** The offset a group has stored, -1 when the broker says there is none. */
    static long committed(Env env, String group, String topic, int queue) throws Exception {
        RemotingCommand got = env.servers.call(env.servers.broker(), QUERY_CONSUMER_OFFSET,
            Map.of("consumerGroup", group, "topic", topic, "queueId", String.valueOf(queue)), null);
        if (got.getCode() == QUERY_NOT_FOUND) {
            return -1;
        }
        Check.equal(0, got.getCode(), "code of the offset query");
        return Long.parseLong(got.getExtFields().get("offset"));
    }

    /** Stores an offset for a group, as a client that is not there. */
    static void commit(Env env, String group, String topic, int queue, long queueOffset) throws Exception {
        RemotingCommand got = env.servers.call(env.servers.broker(), UPDATE_CONSUMER_OFFSET,
            Map.of("consumerGroup", group, "topic", topic, "queueId", String.valueOf(queue), "commitOffset",
                String.valueOf(queueOffset)), null);
        Check.equal(0, got.getCode(), "code of the commit");
    }

    static long committedSum(Env env, String group, String topic, int queues) throws Exception {
        long sum = 0;
        for (int q = 0; q < queues; q++) {
            sum += Math.max(0, committed(env, group, topic, q));
        }
        return sum;
    }

    /** Waits until the consumer's offsets at the broker add up to the number of messages. It stores them as often as asked. */
    static void awaitCommitted(Env env, DefaultMQPushConsumer c, String topic, int queues, long total) throws Exception {
        Check.await(Check.SOON, () -> {
            c.getDefaultMQPushConsumerImpl().persistConsumerOffset();
            return committedSum(env, c.getConsumerGroup(), topic, queues) == total;
        }, () -> "offsets of " + c.getConsumerGroup() + " in " + topic + " do not add up to " + total);
    }

    /** The offset for a time; boundary is lower or upper. */
    static long search(Env env, String topic, int queue, long millis, String boundary) throws Exception {
        RemotingCommand got = env.servers.call(env.servers.broker(), SEARCH_OFFSET_BY_TIMESTAMP,
            Map.of("topic", topic, "queueId", String.valueOf(queue), "timestamp", String.valueOf(millis),
                "boundaryType", boundary), null);
        Check.equal(0, got.getCode(), "code of the search");
        return Long.parseLong(got.getExtFields().get("offset"));
    }
}
