package org.apogee.compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Ordered consumption and the locks it rests on. */
final class OrderlyScenarios {
    private static final int LOCK_BATCH_MQ = 41;
    private static final int UNLOCK_BATCH_MQ = 42;

    private OrderlyScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("orderly-two-members", OrderlyScenarios::twoMembers);
        all.put("orderly-several-queues", OrderlyScenarios::severalQueues);
        all.put("orderly-suspend", OrderlyScenarios::suspend);
        all.put("orderly-lock-exclusive", OrderlyScenarios::lockExclusive);
    }

    private static void sendNumbered(Env env, DefaultMQProducer p, String topic, int queues, int from, int to)
        throws Exception {
        for (int i = from; i < to; i++) {
            Message msg = env.message(topic, "o");
            msg.putUserProperty("number", String.valueOf(i));
            p.send(msg, (all, m, arg) -> all.stream().filter(q -> q.getQueueId() == (Integer) arg).findFirst()
                .orElseThrow(), i % queues);
        }
    }

    /** The numbers that came from each queue, in the order of their coming. */
    private static Map<Integer, List<Integer>> byQueue(Inbox inbox) {
        Map<Integer, List<Integer>> numbers = new TreeMap<>();
        for (MessageExt m : inbox.all()) {
            numbers.computeIfAbsent(m.getQueueId(), k -> new ArrayList<>())
                .add(Integer.parseInt(m.getUserProperty("number")));
        }
        return numbers;
    }

    private static void checkOrder(Inbox inbox, int queues, int total) {
        Map<Integer, List<Integer>> got = byQueue(inbox);
        for (int q = 0; q < queues; q++) {
            List<Integer> expected = new ArrayList<>();
            for (int i = q; i < total; i += queues) {
                expected.add(i);
            }
            Check.equal(expected, got.get(q), "numbers from queue " + q);
        }
    }

    private static DefaultMQPushConsumer consumer(Env env, String group, String topic, MessageListenerOrderly listener)
        throws Exception {
        DefaultMQPushConsumer c = env.pushConsumer(group);
        c.subscribe(topic, "*");
        c.registerMessageListener(listener);
        c.start();
        return c;
    }

    private static MessageListenerOrderly into(Inbox inbox) {
        return (msgs, context) -> {
            inbox.add(msgs);
            return ConsumeOrderlyStatus.SUCCESS;
        };
    }

    static void severalQueues(Env env) throws Exception {
        String topic = env.topic(4);
        DefaultMQProducer p = env.producer();
        sendNumbered(env, p, topic, 4, 0, 60);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = consumer(env, env.name("g"), topic, into(inbox));
        Check.await(Check.SOON, () -> inbox.size() >= 60, () -> inbox.size() + " of 60 received");
        sendNumbered(env, p, topic, 4, 60, 120);
        Check.await(Check.SOON, () -> inbox.size() >= 120, () -> inbox.size() + " of 120 received");
        Offsets.awaitCommitted(env, c, topic, 4, 120);
        checkOrder(inbox, 4, 120);
    }

    /** A message that fails holds its queue back, and no other. */
    static void suspend(Env env) throws Exception {
        String topic = env.topic(2);
        Inbox inbox = new Inbox();
        List<Integer> attempts = java.util.Collections.synchronizedList(new ArrayList<>());
        consumer(env, env.name("g"), topic, (msgs, context) -> {
            MessageExt m = msgs.get(0);
            if (m.getUserProperty("number").equals("4") && attempts.size() < 3) {
                attempts.add(m.getReconsumeTimes());
                context.setSuspendCurrentQueueTimeMillis(50);
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            inbox.add(msgs);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        sendNumbered(env, env.producer(), topic, 2, 0, 12);
        Check.await(Check.SOON, () -> inbox.size() >= 12, () -> inbox.size() + " of 12 received");
        checkOrder(inbox, 2, 12);
        Check.equal(List.of(0, 1, 2), attempts, "reconsume times of the attempts that failed");
    }

    /** A second member takes queues over only when the first has let go of them. */
    static void twoMembers(Env env) throws Exception {
        String topic = env.topic(4);
        String group = env.name("g");
        DefaultMQProducer p = env.producer();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer a = consumer(env, group, topic, into(inbox));
        sendNumbered(env, p, topic, 4, 0, 20);
        Check.await(Check.SOON, () -> inbox.size() >= 20, () -> inbox.size() + " of 20 received");
        Offsets.awaitCommitted(env, a, topic, 4, 20);
        DefaultMQPushConsumer b = consumer(env, group, topic, into(inbox));
        sendNumbered(env, p, topic, 4, 20, 60);
        Check.await(java.time.Duration.ofSeconds(70), () -> inbox.size() >= 60, () -> inbox.size() + " of 60 received");
        checkOrder(inbox, 4, 60);
        b.shutdown();
        sendNumbered(env, p, topic, 4, 60, 80);
        Check.await(java.time.Duration.ofSeconds(70), () -> inbox.size() >= 80, () -> inbox.size() + " of 80 received");
        checkOrder(inbox, 4, 80);
    }

    static void lockExclusive(Env env) throws Exception {
        String topic = env.topic(2);
        String group = env.name("g");
        Check.equal(2, locked(env, LOCK_BATCH_MQ, group, "one", topic, 0, 1), "queues locked by the first");
        Check.equal(0, locked(env, LOCK_BATCH_MQ, group, "two", topic, 0, 1), "queues locked by the second");
        Check.equal(2, locked(env, LOCK_BATCH_MQ, group, "one", topic, 0, 1), "queues locked again by the first");
        locked(env, UNLOCK_BATCH_MQ, group, "two", topic, 0, 1);
        Check.equal(0, locked(env, LOCK_BATCH_MQ, group, "two", topic, 0, 1), "after an unlock by who has no lock");
        locked(env, UNLOCK_BATCH_MQ, group, "one", topic, 1);
        Check.equal(1, locked(env, LOCK_BATCH_MQ, group, "two", topic, 0, 1), "after an unlock of one queue");
        Check.equal(2, locked(env, LOCK_BATCH_MQ, env.name("g"), "two", topic, 0, 1), "queues locked in another group");
    }

    /** Sends a lock or unlock and returns how many queues the answer names. */
    private static int locked(Env env, int code, String group, String client, String topic, int... queues)
        throws Exception {
        List<String> set = new ArrayList<>();
        for (int q : queues) {
            set.add("{\"brokerName\":\"" + env.servers.brokerName() + "\",\"queueId\":" + q + ",\"topic\":\"" + topic
                + "\"}");
        }
        String body = "{\"clientId\":\"" + client + "\",\"consumerGroup\":\"" + group + "\",\"mqSet\":["
            + String.join(",", set) + "],\"onlyThisBroker\":false}";
        RemotingCommand got = env.servers.call(env.servers.broker(), code, Map.of(), body.getBytes("UTF-8"));
        Check.equal(0, got.getCode(), "code");
        return got.getBody() == null ? 0 : new String(got.getBody(), "UTF-8").split("\"queueId\"", -1).length - 1;
    }
}
