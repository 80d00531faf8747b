package org.apogee.compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Transactions, for a broker that asks after a second; as other scenarios' groups must not be asked meanwhile, exclusive. */
final class TransactionScenarios {
    private TransactionScenarios() {
    }

    static void addExclusiveTo(Map<String, Scenario> all) {
        all.put("transaction-decided", TransactionScenarios::decided);
        all.put("transaction-checked", TransactionScenarios::checked);
        all.put("transaction-listener-throws", TransactionScenarios::listenerThrows);
        all.put("transaction-other-producer", TransactionScenarios::otherProducer);
        all.put("transaction-delayed", TransactionScenarios::delayed);
    }

    /** Decides by the words of the body: the first when it is sent, the others one by one when it is asked. */
    private static final class Script implements TransactionListener {
        final List<String> checks = Collections.synchronizedList(new ArrayList<>());

        @Override
        public LocalTransactionState executeLocalTransaction(Message msg, Object arg) {
            return decision(text(msg).split(" ")[0]);
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt msg) {
            String[] words = text(msg).split(" ");
            synchronized (checks) {
                checks.add(text(msg));
                int before = Collections.frequency(checks, text(msg));
                return decision(words[Math.min(before, words.length - 1)]);
            }
        }

        private static LocalTransactionState decision(String word) {
            switch (word) {
                case "commit":
                    return LocalTransactionState.COMMIT_MESSAGE;
                case "rollback":
                    return LocalTransactionState.ROLLBACK_MESSAGE;
                case "throw":
                    throw new IllegalStateException("the local transaction throws");
                default:
                    return LocalTransactionState.UNKNOW;
            }
        }
    }

    private static String text(Message msg) {
        return new String(msg.getBody(), StandardCharsets.UTF_8);
    }

    private static TransactionSendResult send(Env env, TransactionMQProducer p, String topic, String script)
        throws Exception {
        Message msg = env.message(topic, "tag");
        msg.setBody(script.getBytes(StandardCharsets.UTF_8));
        TransactionSendResult r = p.sendMessageInTransaction(msg, null);
        Check.equal(SendStatus.SEND_OK, r.getSendStatus(), "status of the half message");
        return r;
    }

    /** Waits until what has been committed is just this. Apache's broker may commit a message twice when machines are slow. */
    private static void awaitCommitted(Env env, String topic, String... scripts) throws Exception {
        DefaultMQPullConsumer c = env.pullConsumer();
        Check.eventually(Check.SOON, () -> {
            TreeSet<String> texts = new TreeSet<>();
            env.readAll(c, topic).forEach(m -> texts.add(text(m)));
            Check.equal(new TreeSet<>(List.of(scripts)), texts, "committed");
            return texts;
        });
    }

    static void decided(Env env) throws Exception {
        String topic = env.topic(2);
        TransactionMQProducer p = env.transactionProducer(env.name("pg"), new Script());
        TransactionSendResult r = send(env, p, topic, "commit");
        Check.equal(LocalTransactionState.COMMIT_MESSAGE, r.getLocalTransactionState(), "decision");
        send(env, p, topic, "rollback");
        awaitCommitted(env, topic, "commit");
        MessageExt got = env.readAll(env.pullConsumer(), topic).get(0);
        Check.equal("tag", got.getTags(), "tag");
        Check.equal(r.getMsgId(), got.getProperty("UNIQ_KEY"), "unique id");
        Check.equal(r.getTransactionId(), got.getTransactionId(), "transaction id");
    }

    static void checked(Env env) throws Exception {
        String topic = env.topic(2);
        Script script = new Script();
        TransactionMQProducer p = env.transactionProducer(env.name("pg"), script);
        send(env, p, topic, "unknown rollback");
        send(env, p, topic, "unknown commit");
        send(env, p, topic, "unknown unknown commit");
        awaitCommitted(env, topic, "unknown commit", "unknown unknown commit");
        Check.await(Check.SOON, () -> script.checks.contains("unknown rollback"), () -> "asked about " + script.checks);
        Check.that(Collections.frequency(script.checks, "unknown unknown commit") >= 2, "asked twice: " + script.checks);
    }

    /** What the local transaction throws leaves the message open; a check that throws is followed by another one. */
    static void listenerThrows(Env env) throws Exception {
        String topic = env.topic(2);
        TransactionMQProducer p = env.transactionProducer(env.name("pg"), new Script());
        TransactionSendResult r = send(env, p, topic, "throw throw commit");
        Check.equal(LocalTransactionState.UNKNOW, r.getLocalTransactionState(), "decision");
        awaitCommitted(env, topic, "throw throw commit");
    }

    static void otherProducer(Env env) throws Exception {
        String topic = env.topic(2);
        String group = env.name("pg");
        TransactionMQProducer first = env.transactionProducer(group, new Script());
        send(env, first, topic, "unknown commit");
        first.shutdown();
        Script script = new Script();
        TransactionMQProducer second = env.transactionProducer(group, script);
        send(env, second, topic, "rollback"); // the client greets the brokers it has sent to
        awaitCommitted(env, topic, "unknown commit");
        Check.that(script.checks.contains("unknown commit"), "asked about " + script.checks);
    }

    /** Later clients refuse to delay a half message; earlier ones send it, without its delay. */
    static void delayed(Env env) throws Exception {
        String topic = env.topic(2);
        TransactionMQProducer p = env.transactionProducer(env.name("pg"), new Script());
        Message msg = env.message(topic, "tag");
        msg.setBody("commit".getBytes(StandardCharsets.UTF_8));
        msg.setDelayTimeLevel(18);
        try {
            p.sendMessageInTransaction(msg, null);
        } catch (MQClientException e) {
            Check.contains("delay", e.getMessage());
            return;
        }
        awaitCommitted(env, topic, "commit");
        MessageExt got = env.readAll(env.pullConsumer(), topic).get(0);
        Check.equal(null, got.getProperty("DELAY"), "delay level");
    }
}
