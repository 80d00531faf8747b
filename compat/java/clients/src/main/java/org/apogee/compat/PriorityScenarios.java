package org.apogee.compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages with a priority, which clients of 5.4 and later set by a method and others as a property. */
final class PriorityScenarios {
    private static final int QUEUES = 8;
    private static final int CREATE_TOPIC = 17;
    private static final int SAVE_GROUP = 200;

    private PriorityScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("priority-queue", PriorityScenarios::queue);
        if (PopScenarios.canPop()) {
            all.put("priority-pop", PriorityScenarios::pop);
        }
    }

    private static Message message(Env env, String topic, int priority) throws Exception {
        Message msg = env.message(topic, "t");
        try {
            Message.class.getMethod("setPriority", int.class).invoke(msg, priority);
        } catch (NoSuchMethodException e) {
            msg.putUserProperty("_SYS_MSG_PRIORITY_", String.valueOf(priority));
        }
        return msg;
    }

    private static String topic(Env env) throws Exception {
        String topic = env.name("t");
        String queues = String.valueOf(QUEUES);
        var got = env.servers.call(env.servers.broker(), CREATE_TOPIC, Map.of("topic", topic, "defaultTopic", "TBW102", "readQueueNums", queues,
            "writeQueueNums", queues, "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false",
            "attributes", "+message.type=PRIORITY"), null);
        Check.equal(0, got.getCode(), "code of the topic: " + got.getRemark());
        env.awaitRoute(topic);
        return topic;
    }

    /** The priority is the queue, and a message keeps it. */
    static void queue(Env env) throws Exception {
        String topic = topic(env);
        DefaultMQProducer p = env.producer();
        List<String> keys = new ArrayList<>();
        for (int priority = 0; priority <= QUEUES; priority++) {
            Message msg = message(env, topic, priority);
            SendResult r = p.send(msg);
            Check.equal(Math.min(priority, QUEUES - 1), r.getMessageQueue().getQueueId(), "queue of priority " + priority);
            keys.add(msg.getKeys());
        }
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        inbox.awaitExactly(keys);
        for (MessageExt m : inbox.all()) {
            int priority = keys.indexOf(m.getKeys());
            Check.equal(String.valueOf(priority), m.getProperty("_SYS_MSG_PRIORITY_"), "priority");
        }
    }

    /** A consumer that pops a backlog is given the highest priority first. */
    static void pop(Env env) throws Exception {
        String topic = topic(env);
        String group = env.name("g");
        byte[] config = ("{\"groupName\":\"" + group + "\",\"attributes\":{\"+priority.factor\":\"100\"}}").getBytes(StandardCharsets.UTF_8);
        PopScenarios.setMode(env, topic, group, 0);
        Check.equal(0, env.servers.call(env.servers.broker(), SAVE_GROUP, Map.of(), config).getCode(), "code of the group");
        DefaultMQProducer p = env.producer();
        List<Integer> sent = new ArrayList<>();
        List<String> keys = new ArrayList<>();
        for (int i = 0; i < 2 * QUEUES; i++) {
            Message msg = message(env, topic, i % QUEUES);
            p.send(msg);
            sent.add(i % QUEUES);
            keys.add(msg.getKeys());
        }
        sent.sort(Collections.reverseOrder());
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = PopScenarios.consumer(env, group);
        c.setConsumeThreadMin(1);
        c.setConsumeThreadMax(1);
        c.subscribe(topic, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        inbox.awaitExactly(keys);
        List<Integer> got = new ArrayList<>();
        inbox.all().forEach(m -> got.add(Integer.parseInt(m.getProperty("_SYS_MSG_PRIORITY_"))));
        Check.equal(sent, got, "priorities in the order of their coming");
    }
}
