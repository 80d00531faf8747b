package org.apogee.compat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Push consumers of one group: who gets what. */
final class PushScenarios {
    /** Members look for themselves every 20 s; what happens sooner was told to them. */
    private static final Duration TOLD = Duration.ofSeconds(12);

    private PushScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("push-rebalance", PushScenarios::rebalance);
        all.put("push-two-topics", PushScenarios::twoTopics);
        all.put("push-concurrent", PushScenarios::concurrent);
        all.put("push-tag-filter", PushScenarios::tagFilter);
        all.put("push-tag-wakes-hold", PushScenarios::tagWakesHold);
        all.put("push-broadcast", PushScenarios::broadcast);
        all.put("push-resume", PushScenarios::resume);
        all.put("push-hash-collision", PushScenarios::hashCollision);
    }

    static void concurrent(Env env) throws Exception {
        String topic = env.topic(4);
        DefaultMQProducer p = env.producer();
        List<String> keys = new ArrayList<>(env.sendKeys(p, topic, "a", 40));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        inbox.awaitExactly(keys);
        keys.addAll(env.sendKeys(p, topic, "a", 40));
        inbox.awaitExactly(keys);
        Offsets.awaitCommitted(env, c, topic, 4, 80);
        inbox.awaitExactly(keys);
    }

    static void tagFilter(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        List<String> wanted = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            wanted.addAll(env.sendKeys(p, topic, "red", 1));
            env.sendKeys(p, topic, "green", 2);
            wanted.addAll(env.sendKeys(p, topic, "blue", 1));
            p.send(env.message(topic, null));
        }
        wanted.addAll(env.sendKeys(p, topic, "blue", 1));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, " red ||blue || ");
        c.registerMessageListener(inbox.listener());
        c.start();
        inbox.awaitExactly(wanted);
        Offsets.awaitCommitted(env, c, topic, 1, 51);
    }

    /** A parked pull wakes for its own tag soon, although others came first. */
    static void tagWakesHold(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, "wanted");
        c.registerMessageListener(inbox.listener());
        c.start();
        List<String> first = env.sendKeys(p, topic, "wanted", 1);
        inbox.awaitExactly(first);
        env.sendKeys(p, topic, "other", 5);
        List<String> keys = new ArrayList<>(first);
        keys.addAll(env.sendKeys(p, topic, "wanted", 1));
        inbox.awaitExactly(Duration.ofSeconds(4), keys);
    }

    /** Two tags with one hash: the broker delivers both, the client drops the other by its text. */
    static void hashCollision(Env env) throws Exception {
        Check.equal("AaBB".hashCode(), "BBAa".hashCode(), "hash");
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        env.sendKeys(p, topic, "BBAa", 3);
        List<String> wanted = env.sendKeys(p, topic, "AaBB", 3);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, "AaBB");
        c.registerMessageListener(inbox.listener());
        c.start();
        inbox.awaitExactly(wanted);
        Offsets.awaitCommitted(env, c, topic, 1, 6);
    }

    static void broadcast(Env env) throws Exception {
        String topic = env.topic(4);
        String group = env.name("g");
        List<Inbox> inboxes = List.of(new Inbox(), new Inbox());
        for (Inbox inbox : inboxes) {
            DefaultMQPushConsumer c = env.pushConsumer(group);
            c.setMessageModel(Enum.valueOf(c.getMessageModel().getDeclaringClass(), "BROADCASTING"));
            c.subscribe(topic, "*");
            c.registerMessageListener(inbox.listener());
            c.start();
        }
        List<String> keys = env.sendKeys(env.producer(), topic, "b", 40);
        for (Inbox inbox : inboxes) {
            inbox.awaitExactly(keys);
        }
    }

    /** One group on two topics, of which one comes to have messages later. */
    static void twoTopics(Env env) throws Exception {
        String one = env.topic(2);
        String two = env.topic(3);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(one, "x");
        c.subscribe(two, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        DefaultMQProducer p = env.producer();
        List<String> keys = new ArrayList<>(env.sendKeys(p, one, "x", 10));
        env.sendKeys(p, one, "y", 10);
        inbox.awaitExactly(keys);
        keys.addAll(env.sendKeys(p, two, "y", 10));
        inbox.awaitExactly(keys);
    }

    /** What one consumer has finished, its successor does not see. */
    static void resume(Env env) throws Exception {
        String topic = env.topic(2);
        String group = env.name("g");
        DefaultMQProducer p = env.producer();
        Inbox first = new Inbox();
        DefaultMQPushConsumer a = env.pushConsumer(group);
        a.subscribe(topic, "*");
        a.registerMessageListener(first.listener());
        a.start();
        first.awaitExactly(env.sendKeys(p, topic, "r", 20));
        // A message counts as consumed only some time after its listener has seen it.
        Offsets.awaitCommitted(env, a, topic, 2, 20);
        a.shutdown();
        List<String> later = env.sendKeys(p, topic, "r", 20);
        Inbox second = new Inbox();
        DefaultMQPushConsumer b = env.pushConsumer(group);
        b.subscribe(topic, "*");
        b.registerMessageListener(second.listener());
        b.start();
        second.awaitExactly(later);
        Check.equal(20, first.size(), "messages of the first consumer");
    }

    static void rebalance(Env env) throws Exception {
        String topic = env.topic(8);
        String group = env.name("g");
        DefaultMQProducer p = env.producer();
        Inbox inboxA = new Inbox();
        DefaultMQPushConsumer a = member(env, group, topic, inboxA);
        awaitShare(a, topic, 8);
        Inbox inboxB = new Inbox();
        DefaultMQPushConsumer b = member(env, group, topic, inboxB);
        awaitShare(b, topic, 4);
        awaitShare(a, topic, 4);
        Set<MessageQueue> both = new HashSet<>(share(a, topic));
        both.addAll(share(b, topic));
        Check.equal(8, both.size(), "queues that have a member");

        List<String> keys = sendToEach(env, p, topic, 8, 5);
        Check.await(Check.SOON, () -> inboxA.size() + inboxB.size() >= 40,
            () -> inboxA.size() + " and " + inboxB.size() + " of 40 received");
        Check.equal(20, inboxA.size(), "messages of the first member");
        Check.equal(20, inboxB.size(), "messages of the second member");
        Set<Integer> queuesOfA = queuesOf(inboxA);
        queuesOfA.retainAll(queuesOf(inboxB));
        Check.that(queuesOfA.isEmpty(), "queues of both members: " + queuesOfA);

        b.shutdown();
        awaitShare(a, topic, 8);
        keys.addAll(sendToEach(env, p, topic, 8, 5));
        Check.await(Check.SOON, () -> inboxA.size() >= 60, () -> inboxA.size() + " of 60 received");
        TreeSet<String> got = new TreeSet<>(inboxA.keys());
        got.addAll(inboxB.keys());
        Check.equal(new TreeSet<>(keys), got, "keys received");
        Check.equal(80, inboxA.size() + inboxB.size(), "messages received");
    }

    private static DefaultMQPushConsumer member(Env env, String group, String topic, Inbox inbox) throws Exception {
        DefaultMQPushConsumer c = env.pushConsumer(group);
        c.subscribe(topic, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        return c;
    }

    private static List<String> sendToEach(Env env, DefaultMQProducer p, String topic, int queues, int each)
        throws Exception {
        List<String> keys = new ArrayList<>();
        for (int i = 0; i < queues * each; i++) {
            Message msg = env.message(topic, "m");
            p.send(msg, new MessageQueue(topic, env.servers.brokerName(), i % queues));
            keys.add(msg.getKeys());
        }
        return keys;
    }

    private static Set<MessageQueue> share(DefaultMQPushConsumer c, String topic) {
        Set<MessageQueue> mine = new HashSet<>();
        for (MessageQueue mq : c.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet()) {
            if (mq.getTopic().equals(topic)) {
                mine.add(mq);
            }
        }
        return mine;
    }

    private static void awaitShare(DefaultMQPushConsumer c, String topic, int queues) throws Exception {
        Check.await(TOLD, () -> share(c, topic).size() == queues,
            () -> share(c, topic).size() + " queues, not " + queues);
    }

    private static Set<Integer> queuesOf(Inbox inbox) {
        Set<Integer> ids = new HashSet<>();
        for (MessageExt m : inbox.all()) {
            ids.add(m.getQueueId());
        }
        return ids;
    }
}
