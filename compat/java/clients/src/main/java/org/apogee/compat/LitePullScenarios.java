package org.apogee.compat;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The consumer that is polled: queues given by the group, or chosen by itself. */
final class LitePullScenarios {
    private static final long POLL_MILLIS = 500;

    private LitePullScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("lite-rebalance", LitePullScenarios::rebalance);
        all.put("lite-subscribe", LitePullScenarios::subscribe);
        all.put("lite-tag-filter", LitePullScenarios::tagFilter);
        all.put("lite-assign-seek", LitePullScenarios::assignSeek);
        all.put("lite-assign-resume", LitePullScenarios::assignResume);
    }

    /** Polls until so many messages came, and returns them in their order. */
    private static List<MessageExt> poll(DefaultLitePullConsumer c, int n) throws Exception {
        List<MessageExt> got = new ArrayList<>();
        Check.await(Check.SOON, () -> {
            got.addAll(c.poll(POLL_MILLIS));
            return got.size() >= n;
        }, () -> got.size() + " of " + n + " polled");
        Check.equal(n, got.size(), "messages polled");
        return got;
    }

    private static void awaitCommitted(Env env, DefaultLitePullConsumer c, String topic, int queues, long total)
        throws Exception {
        Check.await(Check.SOON, () -> {
            c.getOffsetStore().persistAll(new java.util.HashSet<>(c.fetchMessageQueues(topic)));
            return Offsets.committedSum(env, c.getConsumerGroup(), topic, queues) == total;
        }, () -> "offsets of " + c.getConsumerGroup() + " do not add up to " + total);
    }

    private static TreeSet<String> keys(Collection<MessageExt> msgs) {
        TreeSet<String> keys = new TreeSet<>();
        msgs.forEach(m -> keys.add(m.getKeys()));
        return keys;
    }

    private static DefaultLitePullConsumer subscriber(Env env, String group, String topic, String tags)
        throws Exception {
        DefaultLitePullConsumer c = env.litePullConsumer(group);
        c.setAutoCommit(false);
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        c.subscribe(topic, tags);
        c.start();
        return c;
    }

    static void subscribe(Env env) throws Exception {
        String topic = env.topic(4);
        String group = env.name("g");
        DefaultMQProducer p = env.producer();
        List<String> early = env.sendKeys(p, topic, "l", 20);
        DefaultLitePullConsumer a = subscriber(env, group, topic, "*");
        Check.equal(new TreeSet<>(early), keys(poll(a, 20)), "keys of the first consumer");
        a.commitSync();
        awaitCommitted(env, a, topic, 4, 20);
        env.sendKeys(p, topic, "l", 8);
        poll(a, 8);
        a.shutdown();
        // What was polled but not committed comes again.
        Check.equal(20L, Offsets.committedSum(env, group, topic, 4), "sum of the offsets committed");
        DefaultLitePullConsumer b = subscriber(env, group, topic, "*");
        poll(b, 8);
    }

    static void tagFilter(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        List<String> wanted = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            env.sendKeys(p, topic, "no", 3);
            wanted.addAll(env.sendKeys(p, topic, "yes", 1));
        }
        DefaultLitePullConsumer c = subscriber(env, env.name("g"), topic, "yes || maybe");
        Check.equal(new TreeSet<>(wanted), keys(poll(c, 5)), "keys polled");
    }

    static void rebalance(Env env) throws Exception {
        String topic = env.topic(4);
        String group = env.name("g");
        DefaultLitePullConsumer a = subscriber(env, group, topic, "*");
        Check.await(Check.SOON, () -> a.assignment().size() == 4, () -> "the first has not all queues");
        DefaultLitePullConsumer b = subscriber(env, group, topic, "*");
        Check.await(Check.SOON, () -> a.assignment().size() == 2 && b.assignment().size() == 2,
            () -> "the queues are not shared in halves");
        List<String> sent = env.sendKeys(env.producer(), topic, "l", 40);
        List<MessageExt> got = new ArrayList<>();
        Check.await(Check.SOON, () -> {
            got.addAll(a.poll(50));
            got.addAll(b.poll(50));
            return got.size() >= 40;
        }, () -> got.size() + " of 40 polled");
        Check.equal(new TreeSet<>(sent), keys(got), "keys polled");
        b.shutdown();
        Check.await(Check.SOON, () -> a.assignment().size() == 4, () -> "the first has not all queues again");
    }

    static void assignSeek(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        List<SendResult> sent = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            sent.add(p.send(env.message(topic, "l")));
            long now = System.currentTimeMillis();
            Check.await(Check.SOON, () -> System.currentTimeMillis() > now + 2, () -> "the clock stands");
        }
        DefaultLitePullConsumer c = env.litePullConsumer(env.name("g"));
        c.setAutoCommit(false);
        c.start();
        MessageQueue mq = c.fetchMessageQueues(topic).iterator().next();
        c.assign(List.of(mq));
        c.seekToBegin(mq);
        List<MessageExt> all = poll(c, 10);
        for (int i = 0; i < 10; i++) {
            Check.equal((long) i, all.get(i).getQueueOffset(), "queue offset from the beginning");
            Check.equal(sent.get(i).getMsgId(), all.get(i).getMsgId(), "unique id from the beginning");
        }
        c.seek(mq, 7);
        Check.equal(7L, poll(c, 3).get(0).getQueueOffset(), "first queue offset after a seek");
        long time = all.get(4).getStoreTimestamp();
        Check.equal(4L, c.offsetForTimestamp(mq, time), "offset of the time of a message");
        Check.equal(5L, c.offsetForTimestamp(mq, time + 1), "offset of the time after a message");
        c.seekToEnd(mq);
        p.send(env.message(topic, "l"));
        Check.equal(10L, poll(c, 1).get(0).getQueueOffset(), "queue offset after the end");
        Check.fails(Exception.class, () -> {
            c.seek(mq, 12);
            return null;
        });
    }

    static void assignResume(Env env) throws Exception {
        String topic = env.topic(2);
        String group = env.name("g");
        DefaultMQProducer p = env.producer();
        env.sendKeys(p, topic, "l", 10);
        DefaultLitePullConsumer a = assigned(env, group, topic);
        poll(a, 10);
        a.commitSync();
        awaitCommitted(env, a, topic, 2, 10);
        a.shutdown();
        List<String> later = env.sendKeys(p, topic, "l", 6);
        DefaultLitePullConsumer b = assigned(env, group, topic);
        Check.equal(new TreeSet<>(later), keys(poll(b, 6)), "keys of the second consumer");
        for (MessageQueue mq : b.fetchMessageQueues(topic)) {
            Check.equal(5L, b.committed(mq), "offset committed by the first");
        }
    }

    private static DefaultLitePullConsumer assigned(Env env, String group, String topic) throws Exception {
        DefaultLitePullConsumer c = env.litePullConsumer(group);
        c.setAutoCommit(false);
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        c.start();
        c.assign(c.fetchMessageQueues(topic));
        return c;
    }
}
