package org.apogee.compat;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** What brokers refuse. Where the client would refuse first, the request is made by hand. */
final class SendErrorScenarios {
    private static final int SYSTEM_ERROR = 1;
    private static final int SEND_MESSAGE = 10;
    private static final int MESSAGE_ILLEGAL = 13;
    private static final int NO_PERMISSION = 16;
    private static final int TOPIC_NOT_EXIST = 17;
    private static final int INVALID_PARAMETER = 29;

    private SendErrorScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("send-error-too-large", SendErrorScenarios::tooLarge);
        all.put("send-error-batch-too-large", SendErrorScenarios::batchTooLarge);
        all.put("send-error-properties", SendErrorScenarios::properties);
        all.put("send-error-illegal-topic", SendErrorScenarios::illegalTopic);
        all.put("send-error-system-topic", SendErrorScenarios::systemTopic);
        all.put("send-error-unknown-topic", SendErrorScenarios::unknownTopic);
        all.put("send-error-queue-id", SendErrorScenarios::queueId);
        all.put("send-error-header", SendErrorScenarios::header);
    }

    private static DefaultMQProducer largeProducer(Env env) throws Exception {
        DefaultMQProducer p = env.newProducer();
        p.setMaxMessageSize(16 << 20);
        p.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        p.start();
        return p;
    }

    private static byte[] noise(int bytes) {
        byte[] body = new byte[bytes];
        new Random(2).nextBytes(body);
        return body;
    }

    static void tooLarge(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = largeProducer(env);
        Check.refused(MESSAGE_ILLEGAL, () -> p.send(new Message(topic, noise((4 << 20) + 1))));
        Check.equal(0L, p.send(new Message(topic, new byte[1])).getQueueOffset(), "nothing stored before");
    }

    /** Java finds out in its encoder, by an exception. */
    static void batchTooLarge(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = largeProducer(env);
        byte[] half = noise((2 << 20) + 1);
        Check.refused(SYSTEM_ERROR,
            () -> p.send(java.util.List.of(new Message(topic, half), new Message(topic, half))));
        Check.equal(0L, p.send(new Message(topic, new byte[1])).getQueueOffset(), "nothing stored before");
    }

    static void properties(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer p = env.producer();
        Message msg = env.message(topic, "p");
        msg.putUserProperty("long", "x".repeat(33 << 10));
        Check.refused(MESSAGE_ILLEGAL, () -> p.send(msg));
        Message fits = env.message(topic, "p");
        fits.putUserProperty("long", "x".repeat(31 << 10));
        Check.equal(0L, p.send(fits).getQueueOffset(), "nothing stored before");
    }

    /** The fields of SEND_MESSAGE which are not optional. */
    private static Map<String, String> sendHeader(Env env, String topic) {
        Map<String, String> h = new LinkedHashMap<>();
        h.put("producerGroup", env.name("pg"));
        h.put("topic", topic);
        h.put("defaultTopic", "TBW102");
        h.put("defaultTopicQueueNums", "4");
        h.put("queueId", "0");
        h.put("sysFlag", "0");
        h.put("bornTimestamp", String.valueOf(System.currentTimeMillis()));
        h.put("flag", "0");
        h.put("properties", "");
        return h;
    }

    private static RemotingCommand sendByHand(Env env, Map<String, String> header) throws Exception {
        return env.servers.call(env.servers.broker(), SEND_MESSAGE, header, new byte[] {1});
    }

    static void illegalTopic(Env env) throws Exception {
        DefaultMQProducer p = env.producer();
        Check.fails(MQClientException.class, () -> p.send(new Message("not a topic", new byte[1])));
        for (String topic : new String[] {"not a topic", "dot.dot", "", "t".repeat(128)}) {
            RemotingCommand got = sendByHand(env, sendHeader(env, topic));
            Check.equal(INVALID_PARAMETER, got.getCode(), "code for \"" + topic + "\"");
        }
        String longest = env.name("long") + "-";
        longest += "t".repeat(127 - longest.length());
        Check.equal(0, sendByHand(env, sendHeader(env, longest)).getCode(), "code for 127 characters");
    }

    static void systemTopic(Env env) throws Exception {
        for (String topic : new String[] {"SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "SELF_TEST_TOPIC"}) {
            RemotingCommand got = sendByHand(env, sendHeader(env, topic));
            Check.equal(NO_PERMISSION, got.getCode(), "code for " + topic);
            Check.contains("Sending message to topic[" + topic + "] is forbidden.", got.getRemark());
        }
    }

    static void unknownTopic(Env env) throws Exception {
        Map<String, String> header = sendHeader(env, env.name("none"));
        header.put("defaultTopic", env.name("nodefault"));
        RemotingCommand got = sendByHand(env, header);
        Check.equal(TOPIC_NOT_EXIST, got.getCode(), "code");
        Check.contains("topic[" + header.get("topic") + "] not exist, apply first please!", got.getRemark());
        DefaultMQProducer p = env.newProducer();
        p.setCreateTopicKey(env.name("nodefault"));
        p.start();
        String none = env.name("none");
        Check.fails(MQClientException.class, () -> p.send(env.message(none, "x")));
        MQClientException e = Check.fails(MQClientException.class,
            () -> env.servers.admin().examineTopicRouteInfo(none));
        Check.equal(TOPIC_NOT_EXIST, e.getResponseCode(), "code of the name server");
    }

    static void queueId(Env env) throws Exception {
        Map<String, String> header = sendHeader(env, env.topic(2));
        header.put("queueId", "2");
        RemotingCommand got = sendByHand(env, header);
        Check.equal(INVALID_PARAMETER, got.getCode(), "code");
        Check.contains("request queueId[2] is illegal", got.getRemark());
        header.put("queueId", "-1");
        got = sendByHand(env, header);
        Check.equal(0, got.getCode(), "code for a queue of the broker's choice");
        int chosen = Integer.parseInt(got.getExtFields().get("queueId"));
        Check.that(chosen == 0 || chosen == 1, "queue chosen: " + chosen);
    }

    /** A missing field, and one that is no number: an error each, and the connection still serves. */
    static void header(Env env) throws Exception {
        String topic = env.topic(1);
        for (String broken : new String[] {"missing", "text"}) {
            Map<String, String> header = sendHeader(env, topic);
            if (broken.equals("missing")) {
                header.remove("bornTimestamp");
            } else {
                header.put("queueId", "none");
            }
            Check.equal(SYSTEM_ERROR, sendByHand(env, header).getCode(), "code for a field that is " + broken);
        }
        RemotingCommand got = sendByHand(env, sendHeader(env, topic));
        Check.equal(0, got.getCode(), "code of a good send after it");
        Check.equal("0", got.getExtFields().get("queueOffset"), "nothing stored before");
    }
}
