package org.apogee.compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Push consumers that pop, which clients of 5.x can: the broker assigns the queues and hands out the messages. */
final class PopScenarios {
    private static final int SET_MESSAGE_REQUEST_MODE = 401;

    private PopScenarios() {
    }

    static boolean canPop() {
        try {
            DefaultMQPushConsumer.class.getMethod("setClientRebalance", boolean.class);
            return true;
        } catch (NoSuchMethodException e) {
            return false;
        }
    }

    static void addTo(Map<String, Scenario> all) {
        if (!canPop()) {
            return;
        }
        all.put("pop-nack", PopScenarios::nack);
        all.put("pop-concurrent", PopScenarios::concurrent);
        all.put("pop-two-members", PopScenarios::twoMembers);
        all.put("pop-shared-queues", PopScenarios::sharedQueues);
        all.put("pop-tags", PopScenarios::tags);
        all.put("pop-sql", PopScenarios::sql);
    }

    static void setMode(Env env, String topic, String group, int share) throws Exception {
        Groups.save(env.servers.admin(), env.servers.broker(), group, Groups.RETRIES);
        String body = "{\"consumerGroup\":\"" + group + "\",\"mode\":\"POP\",\"popShareQueueNum\":" + share
            + ",\"topic\":\"" + topic + "\"}";
        RemotingCommand got = env.servers.call(env.servers.broker(), SET_MESSAGE_REQUEST_MODE, Map.of(),
            body.getBytes(StandardCharsets.UTF_8));
        Check.equal(0, got.getCode(), "code of the request mode: " + got.getRemark());
    }

    static DefaultMQPushConsumer consumer(Env env, String group) throws Exception {
        DefaultMQPushConsumer c = env.pushConsumer(group);
        DefaultMQPushConsumer.class.getMethod("setClientRebalance", boolean.class).invoke(c, false);
        return c;
    }

    private static DefaultMQPushConsumer start(Env env, String group, String topic, String tags, Inbox inbox)
        throws Exception {
        DefaultMQPushConsumer c = consumer(env, group);
        c.subscribe(topic, tags);
        c.registerMessageListener(inbox.listener());
        c.start();
        return c;
    }

    static void concurrent(Env env) throws Exception {
        String topic = env.topic(4);
        String group = env.name("g");
        setMode(env, topic, group, 0);
        DefaultMQProducer p = env.producer();
        List<String> keys = env.sendKeys(p, topic, "a", 100);
        Inbox inbox = new Inbox();
        start(env, group, topic, "*", inbox);
        inbox.awaitExactly(keys);
        keys.addAll(env.sendKeys(p, topic, "a", 100));
        inbox.awaitExactly(keys);
    }

    static void twoMembers(Env env) throws Exception {
        String topic = env.topic(4);
        String group = env.name("g");
        setMode(env, topic, group, 0);
        Inbox inbox = new Inbox();
        start(env, group, topic, "*", inbox);
        start(env, group, topic, "*", inbox);
        inbox.awaitExactly(env.sendKeys(env.producer(), topic, "a", 200));
    }

    static void sharedQueues(Env env) throws Exception {
        String topic = env.topic(6);
        String group = env.name("g");
        setMode(env, topic, group, 1);
        Inbox inbox = new Inbox();
        for (int i = 0; i < 3; i++) {
            start(env, group, topic, "*", inbox);
        }
        inbox.awaitExactly(env.sendKeys(env.producer(), topic, "a", 120));
    }

    static void tags(Env env) throws Exception {
        String topic = env.topic(2);
        String group = env.name("g");
        setMode(env, topic, group, 0);
        DefaultMQProducer p = env.producer();
        Inbox inbox = new Inbox();
        start(env, group, topic, "x || y", inbox);
        List<String> keys = env.sendKeys(p, topic, "x", 20);
        env.sendKeys(p, topic, "z", 20);
        keys.addAll(env.sendKeys(p, topic, "y", 20));
        inbox.awaitExactly(keys);
    }

    static void sql(Env env) throws Exception {
        String topic = env.topic(2);
        String group = env.name("g");
        setMode(env, topic, group, 0);
        DefaultMQProducer p = env.producer();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = consumer(env, group);
        c.subscribe(topic, MessageSelector.bySql(SqlScenarios.EXPRESSION));
        c.registerMessageListener(inbox.listener());
        c.start();
        List<String> keys = SqlScenarios.send(env, p, topic, SqlScenarios::matches);
        inbox.awaitExactly(keys);
        keys.addAll(SqlScenarios.send(env, p, topic, SqlScenarios::matches));
        inbox.awaitExactly(keys);
    }

    /** What a listener refuses comes back, once consumed more, and the rest does not. */
    static void nack(Env env) throws Exception {
        String topic = env.topic(1);
        String group = env.name("g");
        setMode(env, topic, group, 0);
        DefaultMQProducer p = env.producer();
        Map<String, List<Integer>> times = new ConcurrentHashMap<>();
        DefaultMQPushConsumer c = consumer(env, group);
        c.setConsumeMessageBatchMaxSize(1);
        c.subscribe(topic, "*");
        c.registerMessageListener((MessageListenerConcurrently) (msgs, context) -> {
            MessageExt m = msgs.get(0);
            Check.equal(topic, m.getTopic(), "topic");
            List<Integer> seen = times.computeIfAbsent(m.getKeys(), k -> new ArrayList<>());
            seen.add(m.getReconsumeTimes());
            boolean refused = m.getTags().equals("bad") && seen.size() == 1;
            return refused ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.start();
        List<String> good = env.sendKeys(p, topic, "good", 10);
        List<String> bad = env.sendKeys(p, topic, "bad", 2);
        Check.await(java.time.Duration.ofSeconds(120), () -> bad.stream().allMatch(
            k -> times.getOrDefault(k, List.of()).size() >= 2), () -> "came: " + times);
        for (String k : bad) {
            Check.equal(List.of(0, 1), times.get(k), "reconsume times of " + k);
        }
        for (String k : good) {
            Check.equal(List.of(0), times.get(k), "reconsume times of " + k);
        }
    }
}
