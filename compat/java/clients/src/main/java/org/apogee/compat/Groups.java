package org.apogee.compat;

import java.lang.reflect.Method;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Consumer groups made before their consumers. */
final class Groups {
    static final int RETRIES = 16;

    private Groups() {
    }

    /** A new group at the broker. */
    static String create(Env env) throws Exception {
        String group = env.name("g");
        save(env.servers.admin(), env.servers.broker(), group, RETRIES);
        return group;
    }

    /**
     * A new group whose retry topic has a route. Otherwise consumers, whose first heartbeat makes that topic, find it only
     * when they ask for routes again.
     */
    static String createWithRetry(Env env) throws Exception {
        String group = create(env);
        env.servers.admin().createAndUpdateTopicConfig(env.servers.broker(),
            new TopicConfig("%RETRY%" + group, 1, 1, 6));
        env.awaitRoute("%RETRY%" + group);
        return group;
    }

    /** A group's settings have another package in each client version, hence by reflection. */
    static void save(DefaultMQAdminExt admin, String broker, String group, int retries) throws Exception {
        for (Method m : DefaultMQAdminExt.class.getMethods()) {
            if (!m.getName().equals("createAndUpdateSubscriptionGroupConfig")) {
                continue;
            }
            Class<?> type = m.getParameterTypes()[1];
            Object config = type.getConstructor().newInstance();
            type.getMethod("setGroupName", String.class).invoke(config, group);
            type.getMethod("setRetryMaxTimes", int.class).invoke(config, retries);
            m.invoke(admin, broker, config);
            return;
        }
        throw new AssertionError("this client cannot save a group");
    }
}
