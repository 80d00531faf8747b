package org.apogee.compat;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Request and reply through the broker. */
final class ReplyScenarios {
    private static final long TIMEOUT_MILLIS = 15_000;

    private ReplyScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("reply-sync", ReplyScenarios::sync);
        all.put("reply-async", ReplyScenarios::async);
        all.put("reply-timeout", ReplyScenarios::timeout);
        all.put("reply-error", ReplyScenarios::errors);
    }

    /** A service on the topic that answers with the request's body in capitals. */
    private static void serve(Env env, String topic) throws Exception {
        DefaultMQProducer replier = env.producer();
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, "*");
        c.registerMessageListener((MessageListenerConcurrently) (msgs, context) -> {
            for (MessageExt m : msgs) {
                String text = new String(m.getBody(), StandardCharsets.UTF_8).toUpperCase();
                try {
                    Message reply = MessageUtil.createReplyMessage(m, text.getBytes(StandardCharsets.UTF_8));
                    reply.putUserProperty("answered", "yes");
                    replier.send(reply, TIMEOUT_MILLIS);
                } catch (Exception e) {
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.start();
    }

    private static void check(Message reply, String text) {
        Check.equal(text, new String(reply.getBody(), StandardCharsets.UTF_8), "body of the reply");
        Check.equal("yes", reply.getUserProperty("answered"), "user property of the reply");
    }

    static void sync(Env env) throws Exception {
        String topic = env.topic(1);
        serve(env, topic);
        DefaultMQProducer asker = env.producer();
        for (String text : new String[] {"one", "two", "three"}) {
            Message request = new Message(topic, text.getBytes(StandardCharsets.UTF_8));
            check(asker.request(request, TIMEOUT_MILLIS), text.toUpperCase());
        }
    }

    static void async(Env env) throws Exception {
        String topic = env.topic(1);
        serve(env, topic);
        CompletableFuture<Message> answer = new CompletableFuture<>();
        Message request = new Message(topic, "later".getBytes(StandardCharsets.UTF_8));
        env.producer().request(request, new RequestCallback() {
            @Override
            public void onSuccess(Message reply) {
                // The client calls with null when the request was sent, and again when the reply came.
                if (reply != null) {
                    answer.complete(reply);
                }
            }

            @Override
            public void onException(Throwable e) {
                answer.completeExceptionally(e);
            }
        }, TIMEOUT_MILLIS);
        check(answer.get(30, TimeUnit.SECONDS), "LATER");
    }

    static void timeout(Env env) throws Exception {
        String topic = env.topic(1);
        DefaultMQProducer asker = env.producer();
        Check.fails(RequestTimeoutException.class, () -> asker.request(env.message(topic, "r"), 1500));
    }

    /** A reply for a client that is not there, and one for nobody. */
    static void errors(Env env) throws Exception {
        String topic = env.servers.cluster() + "_REPLY_TOPIC";
        Map<String, String> header = new java.util.HashMap<>(Map.of("a", env.name("pg"), "b", topic, "c", "TBW102",
            "d", "4", "e", "0", "f", "0", "g", String.valueOf(System.currentTimeMillis()), "h", "0"));
        header.put("i", "MSG_TYPE\u0001reply\u0002REPLY_TO_CLIENT\u0001nobody@here\u0002");
        var got = env.servers.call(env.servers.broker(), 325, header, new byte[] {1});
        Check.equal(1, got.getCode(), "code for a client that is not there");
        Check.contains("push reply message fail, channel of <nobody@here> not found.", got.getRemark());
        header.put("i", "MSG_TYPE\u0001reply\u0002");
        got = env.servers.call(env.servers.broker(), 325, header, new byte[] {1});
        Check.equal(1, got.getCode(), "code for nobody");
        Check.contains("reply message properties[REPLY_TO_CLIENT] is null", got.getRemark());
    }
}
