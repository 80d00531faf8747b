package org.apogee.compat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.impl.mqclient.DoNothingClientRemotingProcessor;
import org.apache.rocketmq.client.impl.mqclient.MQClientAPIExt;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.lite.LiteSubscriptionAction;
import org.apache.rocketmq.common.lite.LiteSubscriptionDTO;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ChangeInvisibleTimeRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PopLiteMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;

/**
 * Lite topics with the calls that the client of 5.5 has for them, as Apache's proxy makes them; it has no consumer of its own that does.
 * For brokers with light message queues. Clients before 5.5 lack these calls, and their build this class.
 */
final class LitePop implements AutoCloseable {
    private static final long CALL_MILLIS = 20_000;

    private final Env env;
    private final MQClientAPIExt calls;
    private final String id = UUID.randomUUID().toString();
    private final String parent;
    private final String group;

    private LitePop(Env env) throws Exception {
        this.env = env;
        parent = env.name("t");
        group = env.name("g");
        TopicConfig topic = new TopicConfig(parent, 4, 4, 6);
        topic.setAttributes(Map.of("+message.type", "LITE"));
        env.servers.admin().createAndUpdateTopicConfig(env.servers.broker(), topic);
        env.awaitRoute(parent);
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(group);
        config.setAttributes(Map.of("+lite.bind.topic", parent));
        env.servers.admin().createAndUpdateSubscriptionGroupConfig(env.servers.broker(), config);
        ClientConfig client = env.servers.setUp(new ClientConfig(), "lite");
        calls = new MQClientAPIExt(client, new NettyClientConfig(), new DoNothingClientRemotingProcessor(null), Servers.hook());
        calls.start();
    }

    /** Called by reflection. */
    static void addTo(Map<String, Scenario> all) {
        all.put("lite-deliver", env -> {
            try (LitePop lite = new LitePop(env)) {
                lite.deliver();
            }
        });
        all.put("lite-again", env -> {
            try (LitePop lite = new LitePop(env)) {
                lite.again();
            }
        });
    }

    @Override
    public void close() {
        calls.shutdown();
    }

    private void subscribe(LiteSubscriptionAction action, String... lites) throws Exception {
        LiteSubscriptionDTO change = new LiteSubscriptionDTO().setAction(action).setClientId(id).setGroup(group).setTopic(parent)
            .setLiteTopicSet(Set.of(lites)).setVersion(System.currentTimeMillis());
        calls.syncLiteSubscriptionAsync(env.servers.broker(), change, CALL_MILLIS).get(CALL_MILLIS, TimeUnit.MILLISECONDS);
    }

    private void send(DefaultMQProducer p, String lite, String key) throws Exception {
        Message msg = new Message(parent, "t", key, key.getBytes());
        MessageAccessor.setLiteTopic(msg, lite);
        p.send(msg);
    }

    private List<MessageExt> pop(Duration invisible) throws Exception {
        PopLiteMessageRequestHeader h = new PopLiteMessageRequestHeader();
        h.setClientId(id);
        h.setConsumerGroup(group);
        h.setTopic(parent);
        h.setMaxMsgNum(32);
        h.setInvisibleTime(invisible.toMillis());
        h.setPollTime(500);
        h.setBornTime(System.currentTimeMillis());
        h.setAttemptId(UUID.randomUUID().toString());
        PopResult got = calls.popLiteMessageAsync(env.servers.broker(), env.servers.brokerName(), h, CALL_MILLIS)
            .get(CALL_MILLIS, TimeUnit.MILLISECONDS);
        return got.getPopStatus() == PopStatus.FOUND ? got.getMsgFoundList() : List.of();
    }

    private void ack(MessageExt m) throws Exception {
        AckMessageRequestHeader h = new AckMessageRequestHeader();
        h.setConsumerGroup(group);
        h.setTopic(parent);
        h.setQueueId(0);
        h.setOffset(m.getQueueOffset());
        h.setExtraInfo(m.getProperty(MessageConst.PROPERTY_POP_CK));
        h.setLiteTopic(m.getProperty(MessageConst.PROPERTY_LITE_TOPIC));
        calls.ackMessageAsync(env.servers.broker(), h, CALL_MILLIS).get(CALL_MILLIS, TimeUnit.MILLISECONDS);
    }

    /** Pops and acknowledges until so many came, and returns their keys by lite topic, in the order of their coming. */
    private Map<String, List<String>> take(int n) throws Exception {
        Map<String, List<String>> keys = new TreeMap<>();
        int[] came = {0};
        Check.await(Check.SOON, () -> {
            for (MessageExt m : pop(Duration.ofMinutes(1))) {
                keys.computeIfAbsent(m.getProperty(MessageConst.PROPERTY_LITE_TOPIC), k -> new ArrayList<>()).add(m.getKeys());
                Check.equal(parent, m.getTopic(), "topic");
                ack(m);
                came[0]++;
            }
            return came[0] >= n;
        }, () -> "came: " + keys);
        return keys;
    }

    /** A client gets what it subscribes to, each lite topic in order, and nothing of the others. */
    private void deliver() throws Exception {
        DefaultMQProducer p = env.producer();
        send(p, "early", "e0");
        subscribe(LiteSubscriptionAction.PARTIAL_ADD, "early", "a", "b");
        Check.equal(Map.of("early", List.of("e0")), take(1), "what was there");
        for (int i = 0; i < 5; i++) {
            send(p, "a", "a" + i);
            send(p, "b", "b" + i);
            send(p, "other", "o" + i);
        }
        Check.equal(Map.of("a", List.of("a0", "a1", "a2", "a3", "a4"), "b", List.of("b0", "b1", "b2", "b3", "b4")), take(10), "what came");
        Check.equal(List.of(), pop(Duration.ofMinutes(1)), "after all is acknowledged");
    }

    /** What is not acknowledged comes again, counted, and so does what was made visible earlier. */
    private void again() throws Exception {
        DefaultMQProducer p = env.producer();
        subscribe(LiteSubscriptionAction.COMPLETE_ADD, "a");
        send(p, "a", "a0");
        MessageExt first = await(Duration.ofSeconds(2), 0);
        MessageExt second = await(Duration.ofMinutes(5), 1);
        Check.equal(first.getQueueOffset(), second.getQueueOffset(), "offset of what came again");
        ChangeInvisibleTimeRequestHeader h = new ChangeInvisibleTimeRequestHeader();
        h.setConsumerGroup(group);
        h.setTopic(parent);
        h.setQueueId(0);
        h.setOffset(second.getQueueOffset());
        h.setExtraInfo(second.getProperty(MessageConst.PROPERTY_POP_CK));
        h.setInvisibleTime(500L);
        h.setLiteTopic("a");
        calls.changeInvisibleTimeAsync(env.servers.broker(), env.servers.brokerName(), h, CALL_MILLIS).get(CALL_MILLIS, TimeUnit.MILLISECONDS);
        ack(await(Duration.ofMinutes(5), 2));
        Check.equal(List.of(), pop(Duration.ofMinutes(1)), "after the acknowledgement");
    }

    private MessageExt await(Duration invisible, int times) throws Exception {
        List<MessageExt> got = new ArrayList<>();
        Check.await(Check.SOON, () -> got.addAll(pop(invisible)), () -> "nothing came");
        Check.equal(1, got.size(), "messages");
        Check.equal(times, got.get(0).getReconsumeTimes(), "times consumed before");
        return got.get(0);
    }
}
