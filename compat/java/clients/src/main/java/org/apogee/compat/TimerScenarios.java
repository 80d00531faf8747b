package org.apogee.compat;

import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Timer messages. Clients before 5.0 have no methods for them and set the properties themselves; clients from 5.3 on can take a
 * message back, if the broker lets them.
 */
final class TimerScenarios {
    private TimerScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("timer-properties", TimerScenarios::properties);
        if (has(Message.class, "setDeliverTimeMs", long.class)) {
            all.put("timer-methods", TimerScenarios::methods);
        }
    }

    /** Needs a broker with recallMessageEnable=true. */
    static void addExclusiveTo(Map<String, Scenario> all) {
        if (has(DefaultMQProducer.class, "recallMessage", String.class, String.class)) {
            all.put("timer-recall", TimerScenarios::recall);
        }
    }

    private static boolean has(Class<?> type, String name, Class<?>... parameters) {
        try {
            type.getMethod(name, parameters);
            return true;
        } catch (NoSuchMethodException e) {
            return false;
        }
    }

    private static void set(Message msg, String name, long value) throws Exception {
        Message.class.getMethod(name, long.class).invoke(msg, value);
    }

    /** Clients that know a name refuse it as a user's property. */
    private static void put(Message msg, String name, String value) {
        try {
            msg.putUserProperty(name, value);
        } catch (RuntimeException e) {
            MessageAccessor.putProperty(msg, name, value);
        }
    }

    static void properties(Env env) throws Exception {
        long now = System.currentTimeMillis();
        Map<String, String[]> asked = new LinkedHashMap<>();
        asked.put("moment", new String[] {"TIMER_DELIVER_MS", String.valueOf(now + 3_210), "3210"});
        asked.put("ms", new String[] {"TIMER_DELAY_MS", "1500", "1500"});
        asked.put("seconds", new String[] {"TIMER_DELAY_SEC", "2", "2000"});
        String topic = env.topic(2);
        DefaultMQProducer p = env.producer();
        Map<String, Long> due = new LinkedHashMap<>();
        for (Map.Entry<String, String[]> e : asked.entrySet()) {
            Message msg = new Message(topic, "t", e.getKey(), e.getKey().getBytes());
            put(msg, e.getValue()[0], e.getValue()[1]);
            p.send(msg);
            due.put(e.getKey(), now + Long.parseLong(e.getValue()[2]));
        }
        received(env, topic, due);
    }

    static void methods(Env env) throws Exception {
        String topic = env.topic(2);
        DefaultMQProducer p = env.producer();
        long now = System.currentTimeMillis();
        Map<String, Long> due = new LinkedHashMap<>();
        String[] names = {"setDelayTimeMs", "setDelayTimeSec", "setDeliverTimeMs"};
        long[] values = {1_700, 3, now + 2_345};
        long[] rests = {1_700, 3_000, 2_345};
        for (int i = 0; i < names.length; i++) {
            Message msg = new Message(topic, "t", names[i], names[i].getBytes());
            set(msg, names[i], values[i]);
            p.send(msg);
            due.put(names[i], now + rests[i]);
        }
        received(env, topic, due);
    }

    /** Everything comes once and not before its time. What a server stores within the millisecond asked for is in time. */
    private static void received(Env env, String topic, Map<String, Long> due) throws Exception {
        Inbox inbox = new Inbox();
        var c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        inbox.awaitExactly(due.keySet());
        for (MessageExt m : inbox.all()) {
            long early = due.get(m.getKeys()) - m.getStoreTimestamp();
            Check.that(early <= 1, m.getKeys() + " was delivered " + early + " ms early");
            Check.equal(topic, m.getTopic(), "topic");
            Check.equal(0, m.getReconsumeTimes(), "reconsume times");
        }
    }

    static void recall(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        Method recall = DefaultMQProducer.class.getMethod("recallMessage", String.class, String.class);
        Method handle = SendResult.class.getMethod("getRecallHandle");
        long at = System.currentTimeMillis() + 8_000;
        List<SendResult> sent = new ArrayList<>();
        for (String key : List.of("back", "stays")) {
            Message msg = new Message(topic, "t", key, key.getBytes());
            set(msg, "setDeliverTimeMs", at);
            sent.add(p.send(msg));
        }
        String taken = (String) handle.invoke(sent.get(0));
        Check.that(taken != null && !taken.isEmpty(), "no recall handle");
        Check.equal(sent.get(0).getMsgId(), recall.invoke(p, topic, taken), "id of what was taken back");
        Message last = new Message(topic, "t", "last", "last".getBytes());
        set(last, "setDeliverTimeMs", at + 3_000);
        p.send(last);
        var c = env.pullConsumer();
        var got = env.readAll(c, topic, 2);
        TreeSet<String> keys = new TreeSet<>();
        got.forEach(m -> keys.add(m.getKeys()));
        Check.equal(new TreeSet<>(List.of("last", "stays")), keys, "keys delivered");
        String unlike = (String) handle.invoke(sent.get(1));
        Check.refused(604, () -> recall.invoke(p, topic, unlike)); // its time is over
    }
}
