package org.apogee.compat;

import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.AckCallback;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.PopCallback;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.impl.MQClientManager;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;

/**
 * Pops in order with the calls that the client of 5.x has for it, as Apache's proxy does: the push consumer of 5.5.0 hands what it has
 * popped in order to no listener. Clients of 4.x lack these calls, and their build this class.
 */
final class SteadyPop {
    private static final int BATCH = 8;
    private static final long POLL_MILLIS = 1000;
    private static final long CALL_MILLIS = 20_000;
    /** Longer than any work takes, and short enough to wait for when a member was killed. */
    private static final long INVISIBLE_MILLIS = 15_000;
    private static final long AGAIN_MILLIS = 200;

    private SteadyPop() {
    }

    static void consume(Servers servers, String topic, String group, CountDownLatch end) throws Exception {
        ClientConfig config = servers.setUp(new ClientConfig(), "steady-pop");
        MQClientInstance client = MQClientManager.getInstance().getOrCreateMQClientInstance(config, Servers.hook());
        client.start();
        MQClientAPIImpl calls = client.getMQClientAPIImpl();
        String addr = servers.broker();
        String name = servers.brokerName();
        Steady.say("READY");
        String attempt = UUID.randomUUID().toString();
        while (end.getCount() > 0) {
            PopMessageRequestHeader h = header(topic, group, attempt);
            try {
                List<MessageExt> got = Call.<PopResult>of(done -> calls.popMessageAsync(name, addr, h, CALL_MILLIS, new PopCallback() {
                    @Override
                    public void onSuccess(PopResult r) {
                        done.complete(r);
                    }

                    @Override
                    public void onException(Throwable e) {
                        done.completeExceptionally(e);
                    }
                })).getMsgFoundList();
                attempt = UUID.randomUUID().toString();
                for (MessageExt m : got == null ? List.<MessageExt>of() : got) {
                    take(calls, addr, group, topic, m);
                }
            } catch (InterruptedException e) {
                throw e;
            } catch (Exception e) { // the same attempt once more: what was popped and did not come is handed out again
                Steady.sayError(e);
                end.await(AGAIN_MILLIS, TimeUnit.MILLISECONDS);
            }
        }
        client.shutdown();
    }

    private static PopMessageRequestHeader header(String topic, String group, String attempt) {
        PopMessageRequestHeader h = new PopMessageRequestHeader();
        h.setConsumerGroup(group);
        h.setTopic(topic);
        h.setQueueId(-1);
        h.setMaxMsgNums(BATCH);
        h.setInvisibleTime(INVISIBLE_MILLIS);
        h.setPollTime(POLL_MILLIS);
        h.setBornTime(System.currentTimeMillis());
        h.setInitMode(0);
        h.setExpType("TAG");
        h.setExp("*");
        h.setOrder(true);
        h.setAttemptId(attempt);
        return h;
    }

    /** Prints a message, which is its consumption, and acknowledges it. */
    private static void take(MQClientAPIImpl calls, String addr, String group, String topic, MessageExt m) throws Exception {
        Steady.say("GOT " + m.getKeys() + " " + m.getQueueId() + " " + m.getQueueOffset() + " " + m.getReconsumeTimes() + " "
            + System.nanoTime());
        AckMessageRequestHeader h = new AckMessageRequestHeader();
        h.setConsumerGroup(group);
        h.setTopic(topic);
        h.setQueueId(m.getQueueId());
        h.setOffset(m.getQueueOffset());
        h.setExtraInfo(m.getProperty(MessageConst.PROPERTY_POP_CK));
        Call.<AckResult>of(done -> calls.ackMessageAsync(addr, CALL_MILLIS, new AckCallback() {
            @Override
            public void onSuccess(AckResult r) {
                done.complete(r);
            }

            @Override
            public void onException(Throwable e) {
                done.completeExceptionally(e);
            }
        }, h));
    }

    /** A call with a callback, waited for. */
    private interface Call<T> {
        void begin(CompletableFuture<T> done) throws Exception;

        static <T> T of(Call<T> call) throws Exception {
            CompletableFuture<T> done = new CompletableFuture<>();
            call.begin(done);
            return done.get(Duration.ofMillis(2 * CALL_MILLIS).toMillis(), TimeUnit.MILLISECONDS);
        }
    }
}
