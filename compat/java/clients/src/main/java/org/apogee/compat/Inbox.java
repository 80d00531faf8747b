package org.apogee.compat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** Remembers what listeners were given. Safe for the threads of several consumers. */
final class Inbox {
    private final List<MessageExt> msgs = new ArrayList<>();

    synchronized void add(Collection<MessageExt> more) {
        msgs.addAll(more);
    }

    synchronized List<MessageExt> all() {
        return new ArrayList<>(msgs);
    }

    List<String> keys() {
        return all().stream().map(MessageExt::getKeys).collect(Collectors.toList());
    }

    synchronized int size() {
        return msgs.size();
    }

    /** A listener that takes everything with success. */
    MessageListenerConcurrently listener() {
        return (batch, context) -> {
            add(batch);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    /** Waits until every key came, and fails if one came twice or another came. */
    void awaitExactly(Collection<String> keys) throws Exception {
        awaitExactly(Check.SOON, keys);
    }

    void awaitExactly(Duration limit, Collection<String> keys) throws Exception {
        Check.await(limit, () -> size() >= keys.size(), () -> size() + " of " + keys.size() + " messages received");
        Check.equal(new TreeSet<>(keys), new TreeSet<>(keys()), "keys received");
        Check.equal(keys.size(), size(), "messages received");
    }
}
