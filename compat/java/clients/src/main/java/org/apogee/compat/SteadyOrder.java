package org.apogee.compat;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Steady clients that keep an order. Each key has its queue, and numbers that count from 0; a message's id is "key/number".
 * The consumer adds to its lines the nanoseconds of the machine's clock, which all its processes share.
 */
final class SteadyOrder {
    private static final int KEYS = 12;
    private static final int QUEUES = 4;

    private SteadyOrder() {
    }

    /** Sends a number until it is acknowledged, and only then the next one of its key. */
    static void produce(Servers servers, String topic, String group, CountDownLatch end) throws Exception {
        DefaultMQProducer p = servers.setUp(new DefaultMQProducer(group), "steady-orderly-producer");
        p.setRetryTimesWhenSendFailed(0);
        p.setSendMsgTimeout(Steady.SEND_MILLIS);
        p.setPollNameServerInterval(1000);
        p.start();
        Steady.say("READY");
        int turn = 0;
        while (!end.await(Steady.PACE_MILLIS, TimeUnit.MILLISECONDS)) {
            int key = turn % KEYS;
            String id = "k" + key + "/" + turn / KEYS;
            if (send(p, topic, id, key % QUEUES)) {
                turn++;
            } else {
                end.await(100, TimeUnit.MILLISECONDS);
            }
        }
        p.shutdown();
    }

    private static boolean send(DefaultMQProducer p, String topic, String id, int queue) throws InterruptedException {
        Message msg = new Message(topic, "steady", id, id.getBytes(StandardCharsets.UTF_8));
        try {
            return Steady.sayResult(id, p.send(msg, (all, m, arg) -> all.stream()
                .filter(q -> q.getQueueId() == queue).findFirst().orElseThrow(), null));
        } catch (InterruptedException e) {
            throw e;
        } catch (Exception e) {
            Steady.sayError(e);
            return false;
        }
    }

    static void consume(Servers servers, String topic, String group, CountDownLatch end) throws Exception {
        // Read by the client's classes as they load: queues change hands after a second instead of twenty.
        System.setProperty("rocketmq.client.rebalance.waitInterval", "1000");
        System.setProperty("rocketmq.client.unlockDelayTimeMills", "1000");
        DefaultMQPushConsumer c = servers.setUp(new DefaultMQPushConsumer(group), "steady-orderly-consumer");
        c.setPollNameServerInterval(1000);
        c.setPersistConsumerOffsetInterval(500);
        c.setConsumeThreadMin(QUEUES);
        c.setConsumeThreadMax(QUEUES);
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        c.subscribe(topic, "*");
        c.registerMessageListener((MessageListenerOrderly) (msgs, context) -> {
            for (MessageExt m : msgs) {
                Steady.say("GOT " + m.getKeys() + " " + m.getQueueId() + " " + m.getQueueOffset() + " "
                    + m.getReconsumeTimes() + " " + System.nanoTime());
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        c.start();
        Steady.say("READY");
        end.await();
        c.shutdown();
    }
}
