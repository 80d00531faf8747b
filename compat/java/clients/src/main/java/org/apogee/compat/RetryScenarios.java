package org.apogee.compat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages that are given back: delays, counts, and where they end. */
final class RetryScenarios {
    private RetryScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("retry-backoff", RetryScenarios::backoff);
        all.put("retry-dlq", RetryScenarios::dlq);
        all.put("retry-orderly-dlq", RetryScenarios::orderlyDlq);
        all.put("retry-then-success", RetryScenarios::thenSuccess);
        all.put("retry-direct-dlq", RetryScenarios::directDlq);
        all.put("retry-part-of-batch", RetryScenarios::partOfBatch);
    }

    /** A message which a listener gives back with the delay level in use. */
    private static MessageListenerConcurrently failing(Inbox inbox, int failures, int delayLevel) {
        return (msgs, context) -> {
            inbox.add(msgs);
            context.setDelayLevelWhenNextConsume(delayLevel);
            boolean again = msgs.get(0).getReconsumeTimes() < failures;
            return again ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    private static DefaultMQPushConsumer consumer(Env env, String group, String topic,
        MessageListenerConcurrently listener) throws Exception {
        DefaultMQPushConsumer c = env.pushConsumer(group);
        c.subscribe(topic, "*");
        c.registerMessageListener(listener);
        return c;
    }

    private static void awaitSize(Inbox inbox, int n, Duration limit) throws Exception {
        Check.await(limit, () -> inbox.size() >= n, () -> inbox.size() + " of " + n + " deliveries");
    }

    private static List<Integer> times(Inbox inbox) {
        return inbox.all().stream().map(MessageExt::getReconsumeTimes).collect(Collectors.toList());
    }

    /** The dead letter of a group, once it is there. */
    private static MessageExt deadLetter(Env env, String group) throws Exception {
        String topic = "%DLQ%" + group;
        env.awaitRoute(topic);
        DefaultMQPullConsumer c = env.pullConsumer();
        Check.equal(1, env.queues(c, topic).size(), "queues of " + topic);
        return env.readAll(c, topic, 1).get(0);
    }

    /** The whole way of a group that nobody made before: the retry topic is found when routes are asked for again. */
    static void dlq(Env env) throws Exception {
        String topic = env.topic(1);
        String group = env.name("g");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = consumer(env, group, topic, failing(inbox, Integer.MAX_VALUE, 1));
        c.setPollNameServerInterval(1000);
        c.setMaxReconsumeTimes(2);
        c.start();
        Message msg = env.message(topic, "tagged");
        msg.putUserProperty("mine", "kept");
        SendResult sent = env.producer().send(msg);
        awaitSize(inbox, 3, Duration.ofSeconds(60));
        MessageExt dead = deadLetter(env, group);
        Check.equal(List.of(0, 1, 2), times(inbox), "reconsume times of the deliveries");
        for (MessageExt m : inbox.all()) {
            Check.equal(topic, m.getTopic(), "topic the listener sees");
            Check.equal(sent.getMsgId(), m.getMsgId(), "unique id");
            Check.equal("kept", m.getUserProperty("mine"), "user property");
            Check.equal("tagged", m.getTags(), "tags");
        }
        Check.sameBytes(msg.getBody(), dead.getBody(), "body of the dead letter");
        Check.equal(topic, dead.getProperty(MessageConst.PROPERTY_RETRY_TOPIC), "RETRY_TOPIC");
        Check.equal(sent.getOffsetMsgId(), dead.getProperty(MessageConst.PROPERTY_ORIGIN_MESSAGE_ID), "origin");
        Check.equal(msg.getKeys(), dead.getKeys(), "keys");
        Check.equal(3, dead.getReconsumeTimes(), "reconsume times of the dead letter");
        Offsets.awaitCommitted(env, c, topic, 1, 1);
    }

    static void thenSuccess(Env env) throws Exception {
        String topic = env.topic(2);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = consumer(env, Groups.createWithRetry(env), topic, failing(inbox, 1, 1));
        c.start();
        List<String> keys = env.sendKeys(env.producer(), topic, "t", 10);
        awaitSize(inbox, 20, Duration.ofSeconds(60));
        Check.equal(Env.sorted(keys), Env.sorted(inbox.keys()), "keys delivered");
        for (String key : keys) {
            List<Integer> times = inbox.all().stream().filter(m -> m.getKeys().equals(key))
                .map(MessageExt::getReconsumeTimes).collect(Collectors.toList());
            Check.equal(List.of(0, 1), times, "deliveries of one message");
        }
        Offsets.awaitCommitted(env, c, topic, 2, 10);
        Offsets.awaitCommitted(env, c, "%RETRY%" + c.getConsumerGroup(), 1, 10);
    }

    /** Without a level of the client's choice the first retry comes after level 3, ten seconds. */
    static void backoff(Env env) throws Exception {
        String topic = env.topic(1);
        Inbox inbox = new Inbox();
        List<Long> at = java.util.Collections.synchronizedList(new ArrayList<>());
        consumer(env, Groups.createWithRetry(env), topic, (msgs, context) -> {
            at.add(System.nanoTime());
            inbox.add(msgs);
            return inbox.size() == 1 ? ConsumeConcurrentlyStatus.RECONSUME_LATER
                : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        }).start();
        env.sendKeys(env.producer(), topic, "t", 1);
        awaitSize(inbox, 2, Duration.ofSeconds(60));
        long millis = (at.get(1) - at.get(0)) / 1_000_000;
        Check.that(millis >= 9_500 && millis < 20_000, "first retry after " + millis + " ms");
        Check.equal(List.of(0, 1), times(inbox), "reconsume times");
    }

    /** Delay level -1 asks for the dead letter queue at once. */
    static void directDlq(Env env) throws Exception {
        String topic = env.topic(1);
        String group = env.name("g");
        Inbox inbox = new Inbox();
        consumer(env, group, topic, failing(inbox, 1, -1)).start();
        SendResult sent = env.producer().send(env.message(topic, "t"));
        Check.equal(sent.getMsgId(), deadLetter(env, group).getMsgId(), "unique id of the dead letter");
        Check.equal(1, inbox.size(), "deliveries");
    }

    /** Of a batch given to the listener only what it did not acknowledge comes again. */
    static void partOfBatch(Env env) throws Exception {
        String topic = env.topic(1);
        String group = Groups.createWithRetry(env);
        DefaultMQProducer p = env.producer();
        List<String> keys = env.sendKeys(p, topic, "t", 8);
        Inbox again = new Inbox();
        List<Integer> sizes = java.util.Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer c = consumer(env, group, topic, (msgs, context) -> {
            if (msgs.get(0).getReconsumeTimes() > 0) {
                again.add(msgs);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
            sizes.add(msgs.size());
            context.setAckIndex(msgs.size() / 2 - 1);
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.setConsumeMessageBatchMaxSize(8);
        c.start();
        Offsets.awaitCommitted(env, c, topic, 1, 8);
        int expected = sizes.stream().mapToInt(n -> n - n / 2).sum();
        awaitSize(again, expected, Duration.ofSeconds(60));
        Check.equal(expected, again.size(), "messages that came again");
        Check.that(keys.containsAll(again.keys()), "keys that came again");
    }

    /** An ordered consumer gives up by sending to its own retry topic, which the broker turns into a dead letter. */
    static void orderlyDlq(Env env) throws Exception {
        String topic = env.topic(1);
        String group = env.name("g");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.pushConsumer(group);
        c.subscribe(topic, "*");
        c.setMaxReconsumeTimes(1);
        c.setSuspendCurrentQueueTimeMillis(50);
        c.registerMessageListener((MessageListenerOrderly) (msgs, context) -> {
            inbox.add(msgs);
            return msgs.get(0).getTags().equals("bad") ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT
                : ConsumeOrderlyStatus.SUCCESS;
        });
        c.start();
        DefaultMQProducer p = env.producer();
        String bad = env.sendKeys(p, topic, "bad", 1).get(0);
        String good = env.sendKeys(p, topic, "good", 1).get(0);
        awaitSize(inbox, 3, Duration.ofSeconds(60));
        Check.equal(List.of(bad, bad, good), inbox.keys(), "keys in the order of delivery");
        Check.equal(bad, deadLetter(env, group).getKeys(), "key of the dead letter");
        Offsets.awaitCommitted(env, c, topic, 1, 2);
    }
}
