package org.apogee.compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.IntPredicate;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

/** Consumers that choose by SQL92. */
final class SqlScenarios {
    private static final int QUEUES = 2;
    private static final int MESSAGES = 40;
    static final String EXPRESSION = "n BETWEEN 10 AND 29 AND (color = 'red' OR TAGS IN ('x')) AND gone IS NULL";

    private SqlScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("sql-push", SqlScenarios::push);
        all.put("sql-two-groups", SqlScenarios::twoGroups);
        all.put("sql-error", SqlScenarios::wrong);
    }

    static boolean matches(int n) {
        return n >= 10 && n <= 29 && (n % 2 == 0 || n % 5 == 0) && n % 4 != 0;
    }

    /** Sends messages with numbers, colours and tags, and returns the keys of those whose numbers are wanted. */
    static List<String> send(Env env, DefaultMQProducer p, String topic, IntPredicate wanted) throws Exception {
        List<String> keys = new ArrayList<>();
        for (int n = 0; n < MESSAGES; n++) {
            Message msg = env.message(topic, n % 5 == 0 ? "x" : "y");
            msg.putUserProperty("n", String.valueOf(n));
            msg.putUserProperty("color", n % 2 == 0 ? "red" : "blue");
            if (n % 4 == 0) {
                msg.putUserProperty("gone", "yes");
            }
            p.send(msg);
            if (wanted.test(n)) {
                keys.add(msg.getKeys());
            }
        }
        return keys;
    }

    private static DefaultMQPushConsumer start(Env env, String topic, String expression, Inbox inbox) throws Exception {
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, MessageSelector.bySql(expression));
        c.registerMessageListener(inbox.listener());
        c.start();
        return c;
    }

    /** What was there before the group was, and what comes later; the offsets pass what does not match. */
    static void push(Env env) throws Exception {
        String topic = env.topic(QUEUES);
        DefaultMQProducer p = env.producer();
        List<String> keys = send(env, p, topic, SqlScenarios::matches);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = start(env, topic, EXPRESSION, inbox);
        inbox.awaitExactly(keys);
        keys.addAll(send(env, p, topic, SqlScenarios::matches));
        inbox.awaitExactly(keys);
        Offsets.awaitCommitted(env, c, topic, QUEUES, 2 * MESSAGES);
    }

    static void twoGroups(Env env) throws Exception {
        String topic = env.topic(QUEUES);
        Inbox small = new Inbox();
        Inbox blue = new Inbox();
        start(env, topic, "n < 7.5", small);
        start(env, topic, "color <> 'red' AND NOT (n < 8)", blue);
        DefaultMQProducer p = env.producer();
        List<String> wanted = new ArrayList<>();
        for (int round = 1; round <= 2; round++) {
            wanted.addAll(send(env, p, topic, n -> n < 8));
            small.awaitExactly(wanted);
            int many = 16 * round;
            Check.await(Check.SOON, () -> blue.size() >= many, () -> blue.size() + " of " + many + " of the second group");
        }
        Check.equal(32, blue.size(), "messages of the second group");
        blue.all().forEach(m -> Check.that(m.getUserProperty("color").equals("blue")
            && Integer.parseInt(m.getUserProperty("n")) >= 8, "number " + m.getUserProperty("n")));
    }

    /** The broker looks at the expression when the consumer starts. */
    static void wrong(Env env) throws Exception {
        String topic = env.topic(1);
        env.producer().send(env.message(topic, "x"));
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, MessageSelector.bySql("n BETWEEN AND"));
        c.registerMessageListener(new Inbox().listener());
        Check.fails(MQClientException.class, () -> {
            c.start();
            return null;
        });
    }
}
