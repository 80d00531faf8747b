package org.apogee.compat;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;

/** Clients that trace: who sent and who consumed a message is in a topic, by the message's id. */
final class TraceScenarios {
    private TraceScenarios() {
    }

    /** Both need a broker with traceTopicEnable=true or the topic of the scenario's own. */
    static void addExclusiveTo(Map<String, Scenario> all) {
        all.put("trace-default", env -> traced(env, null));
        all.put("trace-custom", env -> traced(env, env.topic(1)));
    }

    private static void traced(Env env, String traceTopic) throws Exception {
        String topic = env.topic(1);
        String group = env.name("g");
        DefaultMQProducer p = env.tracingProducer(traceTopic);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.tracingConsumer(group, traceTopic);
        c.subscribe(topic, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        String id = p.send(env.message(topic, "t")).getMsgId();
        String from = traceTopic == null ? "RMQ_SYS_TRACE_TOPIC" : traceTopic;
        Check.eventually(Check.SOON, () -> {
            String all = traces(env, from, id);
            Check.that(all.contains("Pub\1") && all.contains(p.getProducerGroup()), "the send in the traces " + all);
            Check.that(all.contains("SubBefore\1") && all.contains("SubAfter\1") && all.contains(group), "the consumption in the traces " + all);
            return all;
        });
    }

    private static String traces(Env env, String traceTopic, String id) throws Exception {
        QueryResult found = env.servers.admin().queryMessage(traceTopic, id, 64, 0, Long.MAX_VALUE);
        StringBuilder all = new StringBuilder();
        for (MessageExt msg : found.getMessageList()) {
            all.append(new String(msg.getBody(), StandardCharsets.UTF_8));
        }
        return all.toString();
    }
}
