package org.apogee.compat;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Clients that stay while their servers come and go. Until standard input ends,
 * the producer prints "ACK id queue queueOffset" for each send that was acknowledged and "ERR reason" for each that was not,
 * the consumer prints "GOT id queue queueOffset reconsumeTimes" for each message; all print READY when they have started.
 * More of their kind are in SteadyOrder, SteadyPop and SteadyTransactions.
 */
final class Steady {
    static final long PACE_MILLIS = 2;
    /** A send fails when its connection ends, at once; one that is only slow, on a loaded machine, does not. */
    static final int SEND_MILLIS = 30_000;

    private Steady() {
    }

    static void run(String name, Map<String, String> options) throws Exception {
        Servers servers = new Servers(options.get("namesrv"));
        String topic = options.get("topic");
        String group = options.getOrDefault("group", "steady");
        CountDownLatch end = new CountDownLatch(1);
        Thread input = new Thread(() -> awaitEnd(end));
        input.setDaemon(true);
        input.start();
        switch (name) {
            case "steady-producer":
                produce(servers, topic, group, end);
                break;
            case "steady-consumer":
                consume(servers, topic, group, end);
                break;
            case "steady-orderly-producer":
                SteadyOrder.produce(servers, topic, group, end);
                break;
            case "steady-orderly-consumer":
                SteadyOrder.consume(servers, topic, group, end);
                break;
            case "steady-pop-orderly": // of 5.x only
                Class.forName("org.apogee.compat.SteadyPop")
                    .getDeclaredMethod("consume", Servers.class, String.class, String.class, CountDownLatch.class)
                    .invoke(null, servers, topic, group, end);
                break;
            case "steady-undecided":
                SteadyTransactions.leaveOpen(servers, topic, group, end);
                break;
            case "steady-decider":
                SteadyTransactions.decide(servers, topic, group, end);
                break;
            default:
                System.err.println("no scenario is called " + name);
                System.exit(2);
        }
        say("DONE");
        System.exit(0);
    }

    private static void awaitEnd(CountDownLatch end) {
        try {
            while (System.in.read() >= 0) {
                // Only the end matters.
            }
        } catch (java.io.IOException e) {
            // An input that breaks has ended too.
        }
        end.countDown();
    }

    static synchronized void say(String line) {
        PrintStream out = System.out;
        out.println(line);
        out.flush();
    }

    /** How a send failed, in one line. */
    static void sayError(Object what) {
        say("ERR " + String.valueOf(what).replaceAll("\\s+", " "));
    }

    /** Each message is sent once: what is in the log twice was put there twice by the broker. */
    private static void produce(Servers servers, String topic, String group, CountDownLatch end) throws Exception {
        DefaultMQProducer p = servers.setUp(new DefaultMQProducer(group), "steady-producer");
        p.setRetryTimesWhenSendFailed(0);
        p.setSendMsgTimeout(SEND_MILLIS);
        p.setPollNameServerInterval(1000);
        p.start();
        say("READY");
        for (int i = 0; !end.await(PACE_MILLIS, java.util.concurrent.TimeUnit.MILLISECONDS); i++) {
            Message msg = new Message(topic, "steady", "k" + i, ("body " + i).getBytes(StandardCharsets.UTF_8));
            try {
                SendResult r = p.send(msg);
                sayResult(r.getMsgId(), r);
            } catch (Exception e) {
                sayError(e);
                end.await(100, java.util.concurrent.TimeUnit.MILLISECONDS);
            }
        }
        p.shutdown();
    }

    /** Says what came of a send, and returns whether it was acknowledged. */
    static boolean sayResult(String id, SendResult r) {
        if (r.getSendStatus() != SendStatus.SEND_OK) {
            sayError(r.getSendStatus());
            return false;
        }
        say("ACK " + id + " " + r.getMessageQueue().getQueueId() + " " + r.getQueueOffset());
        return true;
    }

    private static void consume(Servers servers, String topic, String group, CountDownLatch end) throws Exception {
        DefaultMQPushConsumer c = servers.setUp(new DefaultMQPushConsumer(group), "steady-consumer");
        c.setPollNameServerInterval(1000);
        c.setPersistConsumerOffsetInterval(500);
        c.setConsumeThreadMin(2);
        c.setConsumeThreadMax(2);
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        c.subscribe(topic, "*");
        c.registerMessageListener((MessageListenerConcurrently) (msgs, context) -> {
            for (MessageExt m : msgs) {
                say("GOT " + m.getMsgId() + " " + m.getQueueId() + " " + m.getQueueOffset() + " "
                    + m.getReconsumeTimes());
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.start();
        say("READY");
        end.await();
        c.shutdown();
    }
}
