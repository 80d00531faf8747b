package org.apogee.compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages with a delay level, which clients of all versions have. */
final class DelayScenarios {
    private static final int QUEUES = 2;
    private static final int LEVELS = 18;
    /** The first levels of messageDelayLevel as it is by default; level 0 is none. */
    private static final int[] DEFAULT_SECONDS = {0, 1, 5, 10};
    /** How much later than due a message may come on a loaded machine. */
    private static final long LATE_MILLIS = 60_000;

    private DelayScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("delay-levels", env -> levels(env, DEFAULT_SECONDS));
    }

    /** For a broker whose 18 levels are 1 to 6 seconds, three times over; levels beyond the last one are the last one. */
    static void addExclusiveTo(Map<String, Scenario> all) {
        int[] seconds = new int[21];
        for (int level = 1; level < seconds.length; level++) {
            seconds[level] = level > LEVELS ? 6 : (level - 1) % 6 + 1;
        }
        all.put("delay-all-levels", env -> levels(env, seconds));
    }

    /** Each message comes to its own topic and queue, once, not before it is due and not long after. */
    private static void levels(Env env, int[] seconds) throws Exception {
        String topic = env.topic(QUEUES);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.subscribe(topic, "delayed");
        c.registerMessageListener(inbox.listener());
        c.start();
        DefaultMQProducer p = env.producer();
        List<String> keys = new ArrayList<>();
        for (int level = 0; level < seconds.length; level++) {
            for (int queue = 0; queue < QUEUES; queue++) {
                Message msg = env.message(topic, "delayed");
                msg.setDelayTimeLevel(level);
                msg.putUserProperty("level", String.valueOf(level));
                msg.putUserProperty("queue", String.valueOf(queue));
                msg.putUserProperty("sent", String.valueOf(System.currentTimeMillis()));
                p.send(msg, (all, m, arg) -> all.stream().filter(q -> q.getQueueId() == (Integer) arg).findFirst()
                    .orElseThrow(), queue);
                keys.add(msg.getKeys());
            }
        }
        inbox.awaitExactly(java.time.Duration.ofMillis(LATE_MILLIS * 2), keys);
        for (MessageExt m : inbox.all()) {
            String level = m.getUserProperty("level");
            long due = seconds[Integer.parseInt(level)] * 1000L;
            long rested = m.getStoreTimestamp() - Long.parseLong(m.getUserProperty("sent"));
            Check.that(rested >= due && rested <= due + LATE_MILLIS, "level " + level + " rested " + rested + " ms");
            Check.equal(topic, m.getTopic(), "topic");
            Check.equal("delayed", m.getTags(), "tags");
            Check.equal(m.getUserProperty("queue"), String.valueOf(m.getQueueId()), "queue of level " + level);
            Check.equal(0, m.getReconsumeTimes(), "reconsume times");
            Check.equal(Math.min(Integer.parseInt(level), LEVELS), m.getDelayTimeLevel(), "delay level of a message that has come");
        }
        Offsets.awaitCommitted(env, c, topic, QUEUES, keys.size());
    }
}
