package org.apogee.compat;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What the admin client learns about consumers and producers, and asks from them through the broker. */
final class ConsumerAdminScenarios {
    private static final int CONSUMER_NOT_ONLINE = 206;

    private ConsumerAdminScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("admin-consume-stats", ConsumerAdminScenarios::consumeStats);
        all.put("admin-connection", ConsumerAdminScenarios::connection);
        all.put("admin-running-info", ConsumerAdminScenarios::runningInfo);
        all.put("admin-consume-directly", ConsumerAdminScenarios::consumeDirectly);
        all.put("admin-producer", ConsumerAdminScenarios::producer);
    }

    private static DefaultMQPushConsumer consumer(Env env, String group, String topic, Inbox inbox) throws Exception {
        DefaultMQPushConsumer c = env.pushConsumer(group);
        c.subscribe(topic, "x || y");
        c.registerMessageListener(inbox.listener());
        c.start();
        return c;
    }

    private static String clientId(DefaultMQPushConsumer c) {
        return c.buildMQClientId();
    }

    static void consumeStats(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String topic = env.topic(2);
        String group = env.name("g");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = consumer(env, group, topic, inbox);
        DefaultMQProducer p = env.producer();
        inbox.awaitExactly(env.sendKeys(p, topic, "x", 10));
        Offsets.awaitCommitted(env, c, topic, 2, 10);
        var stats = admin.examineConsumeStats(group);
        Check.equal(0L, stats.computeTotalDiff(), "messages behind");
        c.shutdown();
        env.sendKeys(p, topic, "x", 4);
        Check.eventually(Check.SOON, () -> {
            Check.equal(4L, admin.examineConsumeStats(group, topic).computeTotalDiff(), "messages behind, later");
            return null;
        });
        var table = admin.examineConsumeStats(group, topic).getOffsetTable();
        for (int q = 0; q < 2; q++) {
            var at = table.get(new MessageQueue(topic, env.servers.brokerName(), q));
            Check.equal(5L, at.getConsumerOffset(), "consumer's offset of queue " + q);
            Check.equal(7L, at.getBrokerOffset(), "broker's offset of queue " + q);
        }
    }

    static void connection(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String topic = env.topic(1);
        String group = env.name("g");
        DefaultMQPushConsumer c = consumer(env, group, topic, new Inbox());
        var found = Check.eventually(Check.SOON, () -> admin.examineConsumerConnectionInfo(group));
        Check.equal(1, found.getConnectionSet().size(), "connections");
        var conn = found.getConnectionSet().iterator().next();
        Check.equal(clientId(c), conn.getClientId(), "client id");
        Check.equal("JAVA", String.valueOf(conn.getLanguage()), "language");
        Check.equal(org.apache.rocketmq.common.MQVersion.CURRENT_VERSION, conn.getVersion(), "version");
        Check.equal("x || y", found.getSubscriptionTable().get(topic).getSubString(), "expression");
        Check.that(found.getSubscriptionTable().containsKey("%RETRY%" + group), "retry topic subscribed");
        Check.equal("CONSUME_PASSIVELY", String.valueOf(found.getConsumeType()), "type");
        Check.equal("CLUSTERING", String.valueOf(found.getMessageModel()), "model");
        c.shutdown();
        Check.eventually(Check.SOON, () -> {
            MQBrokerException e = Check.fails(MQBrokerException.class, () -> admin.examineConsumerConnectionInfo(group));
            Check.equal(CONSUMER_NOT_ONLINE, e.getResponseCode(), "code for a group that has left");
            return null;
        });
    }

    static void runningInfo(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String topic = env.topic(3);
        String group = env.name("g");
        DefaultMQPushConsumer c = consumer(env, group, topic, new Inbox());
        var info = Check.eventually(Check.SOON, () -> {
            var i = admin.getConsumerRunningInfo(group, clientId(c), false);
            long queues = i.getMqTable().keySet().stream().filter(q -> q.getTopic().equals(topic)).count();
            Check.equal(3L, queues, "queues of the client");
            return i;
        });
        Check.equal("CONSUME_PASSIVELY", info.getProperties().getProperty("PROP_CONSUME_TYPE"), "type");
        Check.that(info.getSubscriptionSet().stream().anyMatch(s -> s.getTopic().equals(topic)), "subscription");
        Check.that(info.getJstack() == null || info.getJstack().isEmpty(), "no stacks unless asked for");
        Check.contains("PullMessageService", admin.getConsumerRunningInfo(group, clientId(c), true).getJstack());
        Exception e = Check.fails(Exception.class, () -> admin.getConsumerRunningInfo(group, "nobody", false));
        Check.contains("The Consumer <" + group + "> <nobody> not online", e.getMessage());
    }

    static void consumeDirectly(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String topic = env.topic(1);
        String group = env.name("g");
        Inbox inbox = new Inbox();
        AtomicBoolean refuse = new AtomicBoolean();
        DefaultMQPushConsumer c = env.pushConsumer(group);
        c.subscribe(topic, "*");
        c.registerMessageListener((MessageListenerConcurrently) (msgs, context) -> {
            inbox.add(msgs);
            return refuse.get() ? ConsumeConcurrentlyStatus.RECONSUME_LATER
                : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.start();
        Message msg = env.message(topic, "d");
        SendResult sent = env.producer().send(msg);
        inbox.awaitExactly(List.of(msg.getKeys()));
        var result = admin.consumeMessageDirectly(group, clientId(c), topic, sent.getOffsetMsgId());
        Check.equal("CR_SUCCESS", String.valueOf(result.getConsumeResult()), "result");
        Check.equal(List.of(msg.getKeys(), msg.getKeys()), inbox.keys(), "keys delivered");
        Check.sameBytes(msg.getBody(), inbox.all().get(1).getBody(), "body delivered directly");
        refuse.set(true);
        result = admin.consumeMessageDirectly(group, clientId(c), topic, sent.getOffsetMsgId());
        Check.equal("CR_LATER", String.valueOf(result.getConsumeResult()), "result of a listener that refuses");
        Check.equal(3, inbox.size(), "messages delivered");
    }

    static void producer(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        env.sendKeys(p, topic, "p", 1);
        p.getDefaultMQProducerImpl().getTopicPublishInfoTable();
        var found = Check.eventually(Duration.ofSeconds(60), () -> {
            var info = admin.examineProducerConnectionInfo(p.getProducerGroup(), topic);
            Check.equal(1, info.getConnectionSet().size(), "connections");
            return info;
        });
        Check.equal(p.buildMQClientId(), found.getConnectionSet().iterator().next().getClientId(), "client id");
        p.shutdown();
        Check.eventually(Check.SOON, () -> {
            Exception e = Check.fails(Exception.class,
                () -> admin.examineProducerConnectionInfo(p.getProducerGroup(), topic));
            Check.contains("not exist", e.getMessage());
            return null;
        });
    }
}
