package org.apogee.compat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** A group's offsets set to a time by the admin client, while it is away and while it consumes. */
final class ResetScenarios {
    private ResetScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("reset-online", ResetScenarios::online);
        all.put("reset-offline", ResetScenarios::offline);
    }

    private static DefaultMQPushConsumer consumer(Env env, String group, String topic, Inbox inbox) throws Exception {
        DefaultMQPushConsumer c = env.pushConsumer(group);
        c.subscribe(topic, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        return c;
    }

    /** Sends ten messages, each in a millisecond of its own, and returns their store times. */
    private static List<Long> send(Env env, DefaultMQProducer p, String topic, List<String> keys) throws Exception {
        DefaultMQPullConsumer reader = env.pullConsumer();
        List<Long> times = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            var msg = env.message(topic, "r");
            SendResult sent = p.send(msg);
            keys.add(msg.getKeys());
            long now = env.read(reader, sent.getMessageQueue(), sent.getQueueOffset()).getStoreTimestamp();
            times.add(now);
            Check.await(Check.SOON, () -> System.currentTimeMillis() > now + 2, () -> "the clock stands");
        }
        return times;
    }

    static void offline(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String topic = env.topic(1);
        String group = env.name("g");
        DefaultMQProducer p = env.producer();
        List<String> keys = new ArrayList<>();
        List<Long> times = send(env, p, topic, keys);
        Inbox first = new Inbox();
        DefaultMQPushConsumer c = consumer(env, group, topic, first);
        first.awaitExactly(keys);
        Offsets.awaitCommitted(env, c, topic, 1, 10);
        c.shutdown();
        Map<MessageQueue, Long> set = admin.resetOffsetByTimestamp(topic, group, times.get(6), true);
        Check.equal(Map.of(new MessageQueue(topic, env.servers.brokerName(), 0), 6L), set, "offsets set");
        Inbox second = new Inbox();
        consumer(env, group, topic, second);
        second.awaitExactly(Duration.ofSeconds(60), keys.subList(6, 10));
    }

    /** The consumer stays and is led back by its next pull. */
    static void online(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String topic = env.topic(1);
        String group = env.name("g");
        DefaultMQProducer p = env.producer();
        List<String> keys = new ArrayList<>();
        List<Long> times = send(env, p, topic, keys);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = consumer(env, group, topic, inbox);
        inbox.awaitExactly(keys);
        Offsets.awaitCommitted(env, c, topic, 1, 10);
        admin.resetOffsetByTimestamp(topic, group, times.get(3), true);
        // The pull that waits at the broker was made before; a message ends it. It may come with that pull and again.
        String last = env.sendKeys(p, topic, "r", 1).get(0);
        List<String> again = keys.subList(3, 10);
        Check.await(Duration.ofSeconds(90), () -> again.stream().allMatch(k -> count(inbox, k) == 2)
            && count(inbox, last) >= 1, () -> inbox.size() + " messages received, not those of the reset");
        Offsets.awaitCommitted(env, c, topic, 1, 11);
        for (String key : keys.subList(0, 3)) {
            Check.equal(1L, count(inbox, key), "deliveries of a message before the time");
        }
        again.forEach(k -> Check.equal(2L, count(inbox, k), "deliveries of a message after the time"));
    }

    private static long count(Inbox inbox, String key) {
        return inbox.keys().stream().filter(key::equals).count();
    }
}
