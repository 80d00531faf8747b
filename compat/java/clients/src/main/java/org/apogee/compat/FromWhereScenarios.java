package org.apogee.compat;

import java.time.ZoneId;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;

/**
 * Where a new group begins. The broker answers offset 0 for a queue whose first message is still hot, so on a young topic
 * each setting begins at the front; the client's own choice counts only for queues without messages.
 */
final class FromWhereScenarios {
    private FromWhereScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("from-where-first", env -> young(env, ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET));
        all.put("from-where-last", env -> young(env, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET));
        all.put("from-where-timestamp", env -> young(env, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP));
        all.put("from-where-committed", FromWhereScenarios::committed);
    }

    private static DefaultMQPushConsumer consumer(Env env, String group, String topic, ConsumeFromWhere where,
        Inbox inbox) throws Exception {
        DefaultMQPushConsumer c = env.pushConsumer(group);
        c.setConsumeFromWhere(where);
        ZonedDateTime past = ZonedDateTime.now(ZoneId.systemDefault()).minusDays(1);
        c.setConsumeTimestamp(past.format(DateTimeFormatter.ofPattern("yyyyMMddHHmmss")));
        c.subscribe(topic, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        return c;
    }

    private static void young(Env env, ConsumeFromWhere where) throws Exception {
        String topic = env.topic(2);
        String group = env.name("g");
        DefaultMQProducer p = env.producer();
        Check.equal(-1L, Offsets.committed(env, group, topic, 0), "offset of a group on an empty queue");
        List<String> keys = new ArrayList<>(env.sendKeys(p, topic, "f", 10));
        Check.eventually(Check.SOON, () -> {
            Check.equal(0L, Offsets.committed(env, group, topic, 0), "offset of a group on a hot queue");
            Check.equal(0L, Offsets.committed(env, group, topic, 1), "offset of a group on a hot queue");
            return null;
        });
        Inbox inbox = new Inbox();
        consumer(env, group, topic, where, inbox);
        inbox.awaitExactly(keys);
        keys.addAll(env.sendKeys(p, topic, "f", 10));
        inbox.awaitExactly(keys);
    }

    /** An offset the group has stored wins over each setting. */
    static void committed(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        List<String> keys = env.sendKeys(p, topic, "f", 10);
        for (ConsumeFromWhere where : new ConsumeFromWhere[] {ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET,
            ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP}) {
            String group = Groups.create(env);
            Offsets.commit(env, group, topic, 0, 6);
            Inbox inbox = new Inbox();
            consumer(env, group, topic, where, inbox);
            inbox.awaitExactly(keys.subList(6, 10));
        }
    }
}
