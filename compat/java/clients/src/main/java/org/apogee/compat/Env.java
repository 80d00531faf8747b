package org.apogee.compat;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What one scenario works with: names of its own, and clients that end with it. */
final class Env implements AutoCloseable {
    private static final AtomicInteger INSTANCES = new AtomicInteger();

    final Servers servers;
    private final String scenario;
    private final AtomicInteger names = new AtomicInteger();
    private final Deque<Runnable> closers = new ArrayDeque<>();

    Env(Servers servers, String scenario) {
        this.servers = servers;
        this.scenario = scenario;
    }

    /** A name for a topic, group or key which no other scenario and no other run has. */
    String name(String kind) {
        return "j" + servers.run + "-" + scenario + "-" + kind + names.incrementAndGet();
    }

    /** A new topic, with its route known to the name server. */
    String topic(int queues) throws Exception {
        return topic(queues, 6);
    }

    String topic(int queues, int perm) throws Exception {
        String topic = name("t");
        servers.admin().createAndUpdateTopicConfig(servers.broker(), new TopicConfig(topic, queues, queues, perm));
        awaitRoute(topic);
        return topic;
    }

    void awaitRoute(String topic) throws Exception {
        Check.eventually(Check.SOON, () -> servers.admin().examineTopicRouteInfo(topic));
    }

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer p = newProducer();
        p.start();
        return p;
    }

    /** A producer that is set up but not started. */
    DefaultMQProducer newProducer() {
        DefaultMQProducer p = setUp(new DefaultMQProducer(name("pg"), Servers.hook()));
        p.setSendMsgTimeout(10_000);
        closers.push(p::shutdown);
        return p;
    }

    /** A producer that traces into a topic, null for the one that is for it; it is started. */
    DefaultMQProducer tracingProducer(String traceTopic) throws Exception {
        DefaultMQProducer p = setUp(new DefaultMQProducer(name("pg"), Servers.hook(), true, traceTopic));
        p.setSendMsgTimeout(10_000);
        closers.push(p::shutdown);
        p.start();
        return p;
    }

    /** A push consumer that traces; it is set up but not started. */
    DefaultMQPushConsumer tracingConsumer(String group, String traceTopic) {
        DefaultMQPushConsumer c = setUp(
            new DefaultMQPushConsumer(group, Servers.hook(), new AllocateMessageQueueAveragely(), true, traceTopic));
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        closers.push(c::shutdown);
        return c;
    }

    TransactionMQProducer transactionProducer(String group, TransactionListener listener) throws Exception {
        TransactionMQProducer p = setUp(new TransactionMQProducer(group, Servers.hook()));
        p.setSendMsgTimeout(10_000);
        p.setTransactionListener(listener);
        closers.push(p::shutdown);
        p.start();
        return p;
    }

    /** A push consumer that is set up but not started. It begins at the front, as messages may come before its offsets. */
    DefaultMQPushConsumer pushConsumer(String group) {
        DefaultMQPushConsumer c = setUp(new DefaultMQPushConsumer(group, Servers.hook(), new AllocateMessageQueueAveragely()));
        c.setConsumeThreadMin(2);
        c.setConsumeThreadMax(2);
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        closers.push(c::shutdown);
        return c;
    }

    DefaultLitePullConsumer litePullConsumer(String group) {
        DefaultLitePullConsumer c = setUp(new DefaultLitePullConsumer(group, Servers.hook()));
        c.setPullThreadNums(2);
        closers.push(c::shutdown);
        return c;
    }

    DefaultMQPullConsumer pullConsumer() throws Exception {
        return pullConsumer(name("g"));
    }

    DefaultMQPullConsumer pullConsumer(String group) throws Exception {
        DefaultMQPullConsumer c = setUp(new DefaultMQPullConsumer(group, Servers.hook()));
        closers.push(c::shutdown);
        c.start();
        return c;
    }

    /** An admin client of the scenario's own; servers.admin() serves where it does not matter. */
    DefaultMQAdminExt newAdmin() throws Exception {
        DefaultMQAdminExt a = setUp(new DefaultMQAdminExt(Servers.hook(), 10_000));
        closers.push(a::shutdown);
        a.start();
        return a;
    }

    private <T extends ClientConfig> T setUp(T client) {
        return servers.setUp(client, scenario + "-" + INSTANCES.incrementAndGet());
    }

    /** The queues of a topic in the order of their ids. */
    List<MessageQueue> queues(DefaultMQPullConsumer c, String topic) throws Exception {
        return new ArrayList<>(new TreeSet<>(c.fetchSubscribeMessageQueues(topic)));
    }

    /** The message at a place, straight from its queue. An acknowledged message may take a moment to get there. */
    MessageExt read(DefaultMQPullConsumer c, MessageQueue mq, long queueOffset) throws Exception {
        PullResult got = Check.eventually(Check.SOON, () -> {
            PullResult r = c.pull(mq, "*", queueOffset, 1);
            Check.equal(PullStatus.FOUND, r.getPullStatus(), "pull of " + mq + " at " + queueOffset);
            return r;
        });
        MessageExt msg = got.getMsgFoundList().get(0);
        Check.equal(queueOffset, msg.getQueueOffset(), "queue offset of " + mq);
        return msg;
    }

    /** Waits until so many messages of a topic can be read, and returns them, queue by queue. */
    List<MessageExt> readAll(DefaultMQPullConsumer c, String topic, int n) throws Exception {
        List<MessageExt> all = Check.eventually(Check.SOON, () -> {
            List<MessageExt> now = readAll(c, topic);
            Check.that(now.size() >= n, now.size() + " of " + n + " messages in " + topic);
            return now;
        });
        Check.equal(n, all.size(), "messages in " + topic);
        return all;
    }

    List<MessageExt> readAll(DefaultMQPullConsumer c, String topic) throws Exception {
        List<MessageExt> all = new ArrayList<>();
        for (MessageQueue mq : queues(c, topic)) {
            long at = 0;
            while (true) {
                PullResult got = c.pull(mq, "*", at, 32);
                if (got.getPullStatus() == PullStatus.FOUND) {
                    all.addAll(got.getMsgFoundList());
                } else if (got.getPullStatus() == PullStatus.NO_NEW_MSG) {
                    break;
                }
                at = got.getNextBeginOffset();
            }
        }
        return all;
    }

    /** Sends n small messages, one after the other, and returns their keys in that order. */
    List<String> sendKeys(DefaultMQProducer p, String topic, String tags, int n) throws Exception {
        List<String> keys = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            Message msg = message(topic, tags);
            p.send(msg);
            keys.add(msg.getKeys());
        }
        return keys;
    }

    /** A message whose key is its own and whose body is that key. */
    Message message(String topic, String tags) {
        String key = name("k");
        return new Message(topic, tags, key, key.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    static TreeSet<String> sorted(Collection<String> keys) {
        return new TreeSet<>(keys);
    }

    @Override
    public void close() {
        while (!closers.isEmpty()) {
            try {
                closers.pop().run();
            } catch (RuntimeException e) {
                // A client that did not start cannot be shut down; the scenario has said so.
            }
        }
    }
}
