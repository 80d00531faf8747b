package org.apogee.compat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Single pulls, their statuses and refusals, and the offsets around them. */
final class PullScenarios {
    private static final int PULL_MESSAGE = 11;

    private PullScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("pull-hold", PullScenarios::hold);
        all.put("pull-statuses", PullScenarios::statuses);
        all.put("pull-page", PullScenarios::page);
        all.put("pull-filter-scan", PullScenarios::filterScan);
        all.put("pull-commit", PullScenarios::commit);
        all.put("pull-error", PullScenarios::errors);
        all.put("offset-min-max", PullScenarios::minMax);
        all.put("offset-by-time", PullScenarios::byTime);
    }

    private static PullResult pull(DefaultMQPullConsumer c, MessageQueue mq, String tags, long at, int max)
        throws Exception {
        return c.pull(mq, tags, at, max);
    }

    private static void check(PullStatus status, long next, PullResult got, String what) {
        Check.equal(status, got.getPullStatus(), "status of a pull " + what);
        Check.equal(next, got.getNextBeginOffset(), "next offset of a pull " + what);
    }

    static void statuses(Env env) throws Exception {
        String topic = env.topic(2);
        DefaultMQProducer p = env.producer();
        DefaultMQPullConsumer c = env.pullConsumer();
        MessageQueue mq = env.queues(c, topic).get(0);
        check(PullStatus.NO_NEW_MSG, 0, pull(c, mq, "*", 0, 32), "from an empty queue");
        check(PullStatus.OFFSET_ILLEGAL, 0, pull(c, mq, "*", 3, 32), "beyond an empty queue");
        for (int i = 0; i < 10; i++) {
            p.send(env.message(topic, i < 5 ? "a" : "b"), mq);
        }
        env.read(c, mq, 9);
        PullResult got = pull(c, mq, "*", 4, 3);
        check(PullStatus.FOUND, 7, got, "from the middle");
        Check.equal(3, got.getMsgFoundList().size(), "messages found");
        Check.equal(0L, got.getMinOffset(), "min offset");
        Check.equal(10L, got.getMaxOffset(), "max offset");
        check(PullStatus.NO_NEW_MSG, 10, pull(c, mq, "*", 10, 32), "from the end");
        check(PullStatus.OFFSET_ILLEGAL, 10, pull(c, mq, "*", 11, 32), "beyond the end");
        check(PullStatus.NO_MATCHED_MSG, 10, pull(c, mq, "c", 0, 32), "for a tag nobody sent");
        got = pull(c, mq, "b", 0, 32);
        check(PullStatus.FOUND, 10, got, "for a tag");
        Check.equal(5L, got.getMsgFoundList().get(0).getQueueOffset(), "first message of the tag");
    }

    /** One pull brings at most 32 messages and 256 KiB, and always the first message whole. */
    static void page(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        env.sendKeys(p, topic, "p", 40);
        DefaultMQPullConsumer c = env.pullConsumer();
        MessageQueue mq = env.queues(c, topic).get(0);
        env.read(c, mq, 39);
        check(PullStatus.FOUND, 32, pull(c, mq, "*", 0, 1000), "of 1000");
        check(PullStatus.FOUND, 40, pull(c, mq, "*", 32, 1000), "of the rest");
        byte[] large = new byte[100 << 10];
        new java.util.Random(3).nextBytes(large);
        for (int i = 0; i < 4; i++) {
            p.send(new org.apache.rocketmq.common.message.Message(topic, large));
        }
        byte[] huge = new byte[600 << 10];
        new java.util.Random(4).nextBytes(huge);
        p.send(new org.apache.rocketmq.common.message.Message(topic, huge));
        env.read(c, mq, 44);
        PullResult got = pull(c, mq, "*", 40, 32);
        Check.equal(PullStatus.FOUND, got.getPullStatus(), "status");
        Check.equal(2, got.getMsgFoundList().size(), "messages of 100 KiB in one pull");
        got = pull(c, mq, "*", 44, 32);
        Check.equal(1, got.getMsgFoundList().size(), "messages of 600 KiB in one pull");
        Check.sameBytes(huge, got.getMsgFoundList().get(0).getBody(), "body");
    }

    /** A search through a long queue stops after 800 entries and says where to go on. */
    static void filterScan(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        for (int i = 0; i < 10; i++) {
            List<org.apache.rocketmq.common.message.Message> batch = new ArrayList<>();
            for (int k = 0; k < 100; k++) {
                batch.add(env.message(topic, "plain"));
            }
            p.send(batch);
        }
        p.send(env.message(topic, "rare"));
        DefaultMQPullConsumer c = env.pullConsumer();
        MessageQueue mq = env.queues(c, topic).get(0);
        env.read(c, mq, 1000);
        check(PullStatus.NO_MATCHED_MSG, 800, pull(c, mq, "rare", 0, 32), "through plain messages");
        PullResult got = pull(c, mq, "rare", 800, 32);
        check(PullStatus.FOUND, 1001, got, "that goes on");
        Check.equal(1000L, got.getMsgFoundList().get(0).getQueueOffset(), "queue offset");
    }

    /** A pull that waits is answered when a message comes, long before its time is over. */
    static void hold(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        DefaultMQPullConsumer c = env.pullConsumer();
        MessageQueue mq = env.queues(c, topic).get(0);
        ExecutorService waiter = Executors.newSingleThreadExecutor();
        try {
            Future<PullResult> waiting = waiter.submit(() -> c.pullBlockIfNotFound(mq, "*", 0, 32));
            Check.fails(java.util.concurrent.TimeoutException.class, () -> waiting.get(1, TimeUnit.SECONDS));
            p.send(env.message(topic, "h"));
            check(PullStatus.FOUND, 1, waiting.get(3, TimeUnit.SECONDS), "that waits");
        } finally {
            waiter.shutdownNow();
        }
    }

    static void commit(Env env) throws Exception {
        String topic = env.topic(1);
        String group = Groups.create(env);
        DefaultMQPullConsumer c = env.pullConsumer(group);
        MessageQueue mq = env.queues(c, topic).get(0);
        Check.equal(-1L, c.fetchConsumeOffset(mq, true), "offset of a group on an empty queue");
        env.sendKeys(env.producer(), topic, "c", 5);
        env.read(c, mq, 4);
        c.updateConsumeOffset(mq, 4);
        c.getDefaultMQPullConsumerImpl().getOffsetStore().persist(mq);
        Check.await(Check.SOON, () -> Offsets.committed(env, group, topic, 0) == 4, () -> "offset 4 is not stored");
        c.updateConsumeOffset(mq, 2);
        c.getDefaultMQPullConsumerImpl().getOffsetStore().persist(mq);
        Check.await(Check.SOON, () -> Offsets.committed(env, group, topic, 0) == 2, () -> "offset 2 is not stored");
        Check.equal(2L, c.fetchConsumeOffset(mq, true), "offset asked by the client");
        String late = env.name("g");
        Check.equal(0L, env.pullConsumer(late).fetchConsumeOffset(mq, true), "offset of a new group on a hot queue");
    }

    private static RemotingCommand pullByHand(Env env, String group, String topic, String queue, String expression)
        throws Exception {
        Map<String, String> h = new HashMap<>();
        h.put("consumerGroup", group);
        h.put("topic", topic);
        h.put("queueId", queue);
        h.put("queueOffset", "0");
        h.put("maxMsgNums", "32");
        h.put("sysFlag", "4");
        h.put("commitOffset", "0");
        h.put("suspendTimeoutMillis", "1000");
        h.put("subscription", expression);
        h.put("subVersion", "0");
        return env.servers.call(env.servers.broker(), PULL_MESSAGE, h, null);
    }

    static void errors(Env env) throws Exception {
        String topic = env.topic(2);
        String group = env.name("g");
        Check.equal(29, pullByHand(env, group, topic, "2", "*").getCode(), "code for a queue that is not there");
        Check.equal(29, pullByHand(env, group, topic, "-1", "*").getCode(), "code for a negative queue");
        RemotingCommand got = pullByHand(env, group, env.name("none"), "0", "*");
        Check.equal(17, got.getCode(), "code for an unknown topic");
        Check.contains("not exist, apply first please!", got.getRemark());
        got = pullByHand(env, group, env.topic(1, 2), "0", "*");
        Check.equal(16, got.getCode(), "code for a topic that may only be written");
        Check.contains("pulling message is forbidden", got.getRemark());
        Check.equal(1, pullByHand(env, group, topic, "x", "*").getCode(), "code for a queue that is no number");
        Check.equal(19, pullByHand(env, group, topic, "0", "*").getCode(), "code for an empty queue");
    }

    static void minMax(Env env) throws Exception {
        String topic = env.topic(2);
        DefaultMQProducer p = env.producer();
        DefaultMQPullConsumer c = env.pullConsumer();
        MessageQueue mq = env.queues(c, topic).get(0);
        MessageQueue other = env.queues(c, topic).get(1);
        for (int i = 0; i < 7; i++) {
            p.send(env.message(topic, "m"), mq);
        }
        env.read(c, mq, 6);
        Check.equal(0L, c.minOffset(mq), "min offset");
        Check.equal(7L, c.maxOffset(mq), "max offset");
        Check.equal(0L, c.minOffset(other), "min offset of an empty queue");
        Check.equal(0L, c.maxOffset(other), "max offset of an empty queue");
        long first = env.read(c, mq, 0).getStoreTimestamp();
        Check.equal(first, c.earliestMsgStoreTime(mq), "store time of the first message");
        Check.equal(-1L, c.earliestMsgStoreTime(other), "store time in an empty queue");
    }

    static void byTime(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        DefaultMQPullConsumer c = env.pullConsumer();
        MessageQueue mq = env.queues(c, topic).get(0);
        long[] times = new long[20];
        for (int i = 0; i < times.length; i++) {
            SendResult sent = p.send(env.message(topic, "t"));
            times[i] = env.read(c, mq, sent.getQueueOffset()).getStoreTimestamp();
            long now = times[i];
            Check.await(Check.SOON, () -> System.currentTimeMillis() > now + 2, () -> "the clock stands");
        }
        for (int i = 0; i < times.length; i++) {
            Check.equal((long) i, c.searchOffset(mq, times[i]), "offset of the time of message " + i);
            Check.equal((long) i, c.searchOffset(mq, times[i] - 1), "offset of the time before message " + i);
            Check.equal((long) i, Offsets.search(env, topic, 0, times[i], "upper"), "upper bound of message " + i);
            Check.equal((long) i, Offsets.search(env, topic, 0, times[i] + 1, "upper"), "upper bound after " + i);
        }
        Check.equal(0L, c.searchOffset(mq, 0), "offset of the beginning of time");
        Check.equal(20L, c.searchOffset(mq, times[19] + 1), "offset of the time after the last message");
        Check.equal(0L, Offsets.search(env, topic, 0, times[0] - 1, "upper"), "upper bound before the first");
    }
}
