package org.apogee.compat;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Two producers of one group: the first decides nothing and is killed, the second decides when it is asked. */
final class SteadyTransactions {
    private static final int MESSAGES = 12;
    private static final String GREETING = "greeting";

    private SteadyTransactions() {
    }

    /** Sends "commit" and "rollback" by turns, prints an ACK for each, and never decides. It is ready when it has sent all. */
    static void leaveOpen(Servers servers, String topic, String group, CountDownLatch end) throws Exception {
        TransactionMQProducer p = start(servers, group, "steady-undecided", msg -> LocalTransactionState.UNKNOW);
        for (int i = 0; i < MESSAGES; i++) {
            String text = i % 2 == 0 ? "commit" : "rollback";
            Message msg = new Message(topic, "steady", "k" + i, text.getBytes(StandardCharsets.UTF_8));
            Check.that(Steady.sayResult("k" + i, p.sendMessageInTransaction(msg, null)), "half message " + i);
        }
        Steady.say("READY");
        end.await();
        p.shutdown();
    }

    /** Prints a GOT for each question; the words of the body, one by one, are its answers, the last one stays. */
    static void decide(Servers servers, String topic, String group, CountDownLatch end) throws Exception {
        Map<String, Integer> asked = new ConcurrentHashMap<>();
        TransactionMQProducer p = start(servers, group, "steady-decider", msg -> {
            Steady.say("GOT " + msg.getKeys() + " " + msg.getQueueId() + " " + msg.getQueueOffset());
            String[] words = new String(msg.getBody(), StandardCharsets.UTF_8).split(" ");
            int before = asked.merge(msg.getKeys(), 1, Integer::sum) - 1;
            return decision(words[Math.min(before, words.length - 1)]);
        });
        greet(p, topic);
        Steady.say("READY");
        end.await();
        p.shutdown();
    }

    /** The client greets the brokers it has sent to; a broker that has just started may be late. */
    private static void greet(TransactionMQProducer p, String topic) throws Exception {
        for (int tries = 5;; tries--) {
            try {
                p.sendMessageInTransaction(new Message(topic, "steady", GREETING, "rollback".getBytes(StandardCharsets.UTF_8)), null);
                return;
            } catch (MQClientException e) {
                if (tries == 1) {
                    throw e;
                }
            }
        }
    }

    private static LocalTransactionState decision(String word) {
        switch (word) {
            case "commit":
                return LocalTransactionState.COMMIT_MESSAGE;
            case "rollback":
                return LocalTransactionState.ROLLBACK_MESSAGE;
            default:
                return LocalTransactionState.UNKNOW;
        }
    }

    private interface Answer {
        LocalTransactionState to(MessageExt msg);
    }

    private static TransactionMQProducer start(Servers servers, String group, String instance, Answer answer)
        throws Exception {
        TransactionMQProducer p = servers.setUp(new TransactionMQProducer(group), instance);
        p.setSendMsgTimeout(10_000);
        p.setPollNameServerInterval(1000);
        p.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message msg, Object arg) {
                return msg.getKeys().equals(GREETING) ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt msg) {
                return answer.to(msg);
            }
        });
        p.start();
        return p;
    }
}
