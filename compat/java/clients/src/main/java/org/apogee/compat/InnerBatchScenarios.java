package org.apogee.compat;

import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Batches for a topic with queue.type=BatchCQ, which consumers unwrap. */
final class InnerBatchScenarios {
    private InnerBatchScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("inner-batch", InnerBatchScenarios::push);
    }

    static void push(Env env) throws Exception {
        String topic = env.name("t");
        TopicConfig config = new TopicConfig(topic, 1, 1, 6);
        Method attributes;
        try {
            attributes = TopicConfig.class.getMethod("setAttributes", Map.class);
        } catch (NoSuchMethodException e) {
            return; // clients before 5.0 know neither attributes nor inner batches
        }
        attributes.invoke(config, Map.of("+queue.type", "BatchCQ"));
        DefaultMQAdminExt admin = env.newAdmin();
        admin.createAndUpdateTopicConfig(env.servers.broker(), config);
        env.awaitRoute(topic);

        DefaultMQProducer p = env.producer();
        List<String> keys = new ArrayList<>();
        long next = 0;
        for (int i = 0; i < 10; i++) {
            List<Message> batch = new ArrayList<>();
            for (int j = 0; j <= i; j++) {
                batch.add(env.message(topic, "inner"));
            }
            SendResult sent = p.send(batch);
            Check.equal(next, sent.getQueueOffset(), "queue offset of the batch");
            batch.forEach(m -> keys.add(m.getKeys()));
            Message single = env.message(topic, "single");
            Check.equal(next + batch.size(), p.send(single).getQueueOffset(), "queue offset of the message behind it");
            keys.add(single.getKeys());
            next += batch.size() + 1;
        }
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        inbox.awaitExactly(keys);
        TreeSet<Long> offsets = inbox.all().stream().map(MessageExt::getQueueOffset).collect(Collectors.toCollection(TreeSet::new));
        Check.equal((int) next, offsets.size(), "different queue offsets");
        Check.equal(next - 1, offsets.last(), "last queue offset");
        Offsets.awaitCommitted(env, c, topic, 1, next);
    }
}
