package org.apogee.compat;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Apache's mqadmin, many commands in one process. A line of the standard input is a command, its arguments separated by tabs; the
 * answer is a line "OUTPUT bytes milliseconds" and so many bytes, which are what the command wrote to System.out and System.err.
 * A command that does not end is interrupted, and its answer ends with a line "TIMEOUT".
 *
 * <p>Lines of its own: "#consume GROUP TOPIC COUNT" has a push consumer stay until "#stop GROUP", once COUNT messages have come;
 * "#produce GROUP TOPIC" a producer that has sent one message. Nothing here may write with another System.out.
 */
final class Mqadmin {
    private static final long LIMIT_MILLIS = 30_000;

    private final String namesrv;
    private final Map<String, AutoCloseable> staying = new ConcurrentHashMap<>();

    private Mqadmin(String namesrv) {
        this.namesrv = namesrv;
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        Mqadmin tool = new Mqadmin(args[0]);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            long start = System.nanoTime();
            byte[] output = tool.run(line.split("\t", -1));
            long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
            answers.print("OUTPUT " + output.length + " " + millis + "\n");
            answers.write(output, 0, output.length);
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private byte[] run(String[] words) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintStream capture = new PrintStream(bytes, true, StandardCharsets.UTF_8.name());
        System.setOut(capture);
        System.setErr(capture);
        Thread command = new Thread(() -> {
            try {
                if (words[0].startsWith("#")) {
                    own(words);
                } else {
                    MQAdminStartup.main0(words, null);
                }
            } catch (Throwable e) {
                e.printStackTrace(capture);
            }
        }, "command");
        command.start();
        command.join(LIMIT_MILLIS);
        if (command.isAlive()) {
            command.interrupt();
            command.join(LIMIT_MILLIS);
            capture.println("TIMEOUT");
        }
        return bytes.toByteArray();
    }

    private void own(String[] words) throws Exception {
        switch (words[0]) {
            case "#consume":
                consume(words[1], words[2], Integer.parseInt(words[3]));
                break;
            case "#produce":
                produce(words[1], words[2]);
                break;
            case "#stop":
                staying.remove(words[1]).close();
                break;
            default:
                throw new IllegalArgumentException(Arrays.toString(words));
        }
    }

    private void consume(String group, String topic, int count) throws Exception {
        CountDownLatch left = new CountDownLatch(count);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(group);
        consumer.setClientIP("127.0.0.1");
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.setPersistConsumerOffsetInterval(1000);
        consumer.setPollNameServerInterval(1000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (msgs, context) -> {
            msgs.forEach(m -> left.countDown());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        staying.put(group, consumer::shutdown);
        if (!left.await(LIMIT_MILLIS, TimeUnit.MILLISECONDS)) {
            throw new IllegalStateException(left.getCount() + " messages are missing");
        }
    }

    private void produce(String group, String topic) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(group);
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName(group);
        producer.setClientIP("127.0.0.1");
        producer.setHeartbeatBrokerInterval(1000);
        producer.setSendMsgTimeout((int) LIMIT_MILLIS);
        producer.start();
        staying.put(group, producer::shutdown);
        for (int tries = 1; ; tries++) {
            try {
                producer.send(new Message(topic, "hello".getBytes(StandardCharsets.UTF_8)));
                return;
            } catch (Exception e) {
                if (tries == 5) {
                    throw e;
                }
            }
        }
    }

}
