package org.apogee.compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Each way of sending, and what is then in the queues. */
final class SendScenarios {
    private static final int MAX_BODY_BYTES = 4 << 20;

    private SendScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("send-max-body", SendScenarios::maxBody);
        all.put("send-auto-create", SendScenarios::autoCreate);
        all.put("send-async", SendScenarios::async);
        all.put("send-oneway", SendScenarios::oneway);
        all.put("send-batch", SendScenarios::batch);
        all.put("send-compressed", SendScenarios::compressed);
        all.put("send-selector", SendScenarios::selector);
        all.put("send-vip", SendScenarios::vip);
        all.put("send-sync", SendScenarios::sync);
        all.put("send-unicode", SendScenarios::unicode);
    }

    static void sync(Env env) throws Exception {
        String topic = env.topic(2);
        byte[] body = new byte[256];
        for (int i = 0; i < body.length; i++) {
            body[i] = (byte) i;
        }
        Message msg = new Message(topic, "TagA", "k1 k2", 7, body, true);
        msg.putUserProperty("colour", "blue");
        msg.setBuyerId("buyer");
        long before = System.currentTimeMillis();
        SendResult sent = env.producer().send(msg);
        long after = System.currentTimeMillis();

        Check.equal(SendStatus.SEND_OK, sent.getSendStatus(), "status");
        MessageQueue mq = sent.getMessageQueue();
        Check.equal(env.servers.brokerName(), mq.getBrokerName(), "broker");
        Check.equal(0L, sent.getQueueOffset(), "first queue offset");
        Check.equal("DefaultRegion", sent.getRegionId(), "region");
        DefaultMQPullConsumer c = env.pullConsumer();
        MessageExt got = env.read(c, mq, 0);
        Check.sameBytes(body, got.getBody(), "body");
        Check.equal(topic, got.getTopic(), "topic");
        Check.equal("TagA", got.getTags(), "tags");
        Check.equal("k1 k2", got.getKeys(), "keys");
        Check.equal(7, got.getFlag(), "flag");
        Check.equal("blue", got.getUserProperty("colour"), "user property");
        Check.equal("buyer", got.getBuyerId(), "buyer id");
        Check.equal(mq.getQueueId(), got.getQueueId(), "queue id");
        Check.equal(sent.getMsgId(), got.getMsgId(), "unique id");
        Check.equal(sent.getMsgId(), got.getProperty(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX), "UNIQ_KEY");
        Check.equal(env.servers.cluster(), got.getProperty(MessageConst.PROPERTY_CLUSTER), "CLUSTER");
        Check.equal(0, got.getReconsumeTimes(), "reconsume times");
        Check.that(got.getBornTimestamp() >= before && got.getBornTimestamp() <= after, "born time");
        Check.that(got.getStoreTimestamp() >= before - 5 && got.getStoreTimestamp() <= after + 5, "store time");
        Check.equal("127.0.0.1", got.getBornHostString(), "born host");
        var id = MessageDecoder.decodeMessageId(sent.getOffsetMsgId());
        Check.equal(got.getCommitLogOffset(), id.getOffset(), "physical offset in the offset message id");
        Check.equal(got.getStoreHost(), id.getAddress(), "address in the offset message id");
    }

    static void async(Env env) throws Exception {
        int n = 64;
        String topic = env.topic(4);
        DefaultMQProducer p = env.producer();
        CountDownLatch answered = new CountDownLatch(n);
        ConcurrentLinkedQueue<SendResult> results = new ConcurrentLinkedQueue<>();
        ConcurrentLinkedQueue<Throwable> errors = new ConcurrentLinkedQueue<>();
        for (int i = 0; i < n; i++) {
            p.send(env.message(topic, "a"), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    results.add(result);
                    answered.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    errors.add(e);
                    answered.countDown();
                }
            });
        }
        Check.that(answered.await(30, TimeUnit.SECONDS), "all sends answered");
        Check.that(errors.isEmpty(), "no send failed: " + errors.peek());
        Map<Integer, TreeSet<Long>> places = new TreeMap<>();
        for (SendResult r : results) {
            places.computeIfAbsent(r.getMessageQueue().getQueueId(), k -> new TreeSet<>()).add(r.getQueueOffset());
        }
        int total = 0;
        for (TreeSet<Long> offsets : places.values()) {
            Check.equal(0L, offsets.first(), "first offset of a queue");
            Check.equal(offsets.size() - 1L, offsets.last(), "last offset of a queue");
            total += offsets.size();
        }
        Check.equal(n, total, "places given");
        env.readAll(env.pullConsumer(), topic, n);
    }

    static void oneway(Env env) throws Exception {
        int n = 32;
        String topic = env.topic(2);
        DefaultMQProducer p = env.producer();
        List<String> keys = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            Message msg = env.message(topic, "o");
            p.sendOneway(msg);
            keys.add(msg.getKeys());
        }
        TreeSet<String> stored = new TreeSet<>();
        env.readAll(env.pullConsumer(), topic, n).forEach(m -> stored.add(m.getKeys()));
        Check.equal(new TreeSet<>(keys), stored, "keys stored");
    }

    static void batch(Env env) throws Exception {
        int n = 10;
        String topic = env.topic(1);
        List<Message> msgs = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            Message msg = env.message(topic, i % 2 == 0 ? "even" : "odd");
            msg.putUserProperty("index", String.valueOf(i));
            msgs.add(msg);
        }
        DefaultMQProducer p = env.producer();
        p.send(env.message(topic, "first"));
        SendResult sent = p.send(msgs);
        Check.equal(SendStatus.SEND_OK, sent.getSendStatus(), "status");
        Check.equal(1L, sent.getQueueOffset(), "queue offset of the batch");
        Check.equal(n, sent.getMsgId().split(",").length, "unique ids");
        String[] offsetIds = sent.getOffsetMsgId().split(",");
        Check.equal(n, offsetIds.length, "offset message ids");
        DefaultMQPullConsumer c = env.pullConsumer();
        for (int i = 0; i < n; i++) {
            MessageExt got = env.read(c, sent.getMessageQueue(), 1 + i);
            Check.sameBytes(msgs.get(i).getBody(), got.getBody(), "body " + i);
            Check.equal(msgs.get(i).getKeys(), got.getKeys(), "keys " + i);
            Check.equal(msgs.get(i).getTags(), got.getTags(), "tags " + i);
            Check.equal(String.valueOf(i), got.getUserProperty("index"), "property " + i);
            Check.equal(sent.getMsgId().split(",")[i], got.getMsgId(), "unique id " + i);
            Check.equal(MessageDecoder.decodeMessageId(offsetIds[i]).getOffset(), got.getCommitLogOffset(), "place " + i);
        }
    }

    static void compressed(Env env) throws Exception {
        String topic = env.topic(1);
        byte[] body = "the same words over and over; ".repeat(4000).getBytes(StandardCharsets.UTF_8);
        SendResult sent = env.producer().send(new Message(topic, "z", "key", body));
        MessageExt got = env.read(env.pullConsumer(), sent.getMessageQueue(), 0);
        Check.sameBytes(body, got.getBody(), "body");
        Check.that(got.getStoreSize() < body.length / 4, "stored small: " + got.getStoreSize());
    }

    static void selector(Env env) throws Exception {
        String topic = env.topic(4);
        DefaultMQProducer p = env.producer();
        for (int order = 0; order < 12; order++) {
            SendResult sent = p.send(env.message(topic, "s"), (queues, msg, arg) -> {
                int wanted = (Integer) arg % queues.size();
                return queues.stream().filter(q -> q.getQueueId() == wanted).findFirst().orElseThrow();
            }, order);
            Check.equal(order % 4, sent.getMessageQueue().getQueueId(), "queue of " + order);
            Check.equal((long) (order / 4), sent.getQueueOffset(), "queue offset of " + order);
        }
    }

    static void autoCreate(Env env) throws Exception {
        String topic = env.name("auto");
        SendResult sent = env.producer().send(env.message(topic, "n"));
        Check.equal(0L, sent.getQueueOffset(), "queue offset");
        env.awaitRoute(topic);
        var queues = env.servers.admin().examineTopicRouteInfo(topic).getQueueDatas();
        Check.equal(1, queues.size(), "brokers with the topic");
        Check.equal(4, queues.get(0).getWriteQueueNums(), "write queues");
        Check.equal(4, queues.get(0).getReadQueueNums(), "read queues");
        Check.equal(6, queues.get(0).getPerm(), "permission");
        env.readAll(env.pullConsumer(), topic, 1);
    }

    static void vip(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.newProducer();
        p.setVipChannelEnabled(true);
        p.start();
        SendResult sent = p.send(env.message(topic, "v"));
        Check.equal(SendStatus.SEND_OK, sent.getSendStatus(), "status");
        Check.equal("v", env.read(env.pullConsumer(), sent.getMessageQueue(), 0).getTags(), "tags");
    }

    /** A body of exactly the limit passes. */
    static void maxBody(Env env) throws Exception {
        String topic = env.topic(1);
        byte[] body = new byte[MAX_BODY_BYTES];
        new Random(1).nextBytes(body);
        DefaultMQProducer p = env.newProducer();
        p.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        p.start();
        SendResult sent = p.send(new Message(topic, body));
        Check.sameBytes(body, env.read(env.pullConsumer(), sent.getMessageQueue(), 0).getBody(), "body");
    }

    static void unicode(Env env) throws Exception {
        String topic = env.topic(1);
        String text = "grüße-消息-🚀";
        Message msg = new Message(topic, text, text + "-key", text.getBytes(StandardCharsets.UTF_8));
        msg.putUserProperty("wörter", text);
        SendResult sent = env.producer().send(msg);
        DefaultMQPullConsumer c = env.pullConsumer();
        env.read(c, sent.getMessageQueue(), 0);
        MessageExt got = c.pull(sent.getMessageQueue(), text, 0, 1).getMsgFoundList().get(0);
        Check.equal(text, got.getTags(), "tags, filtered by the broker");
        Check.equal(text + "-key", got.getKeys(), "keys");
        Check.equal(text, got.getUserProperty("wörter"), "user property");
        Check.equal(text, new String(got.getBody(), StandardCharsets.UTF_8), "body");
    }
}
