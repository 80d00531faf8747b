package org.apogee.compat;

import java.lang.reflect.Method;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Topics, groups and the broker itself through the admin client. */
final class AdminScenarios {
    private AdminScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("admin-topic", AdminScenarios::topic);
        all.put("admin-topic-errors", AdminScenarios::topicErrors);
        all.put("admin-topic-delete", AdminScenarios::topicDelete);
        all.put("admin-topic-stats", AdminScenarios::topicStats);
        all.put("admin-group", AdminScenarios::group);
        all.put("admin-cluster", AdminScenarios::cluster);
        all.put("admin-broker", AdminScenarios::broker);
    }

    static void topic(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String broker = env.servers.broker();
        String topic = env.name("t");
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(topic, 3, 5, 6));
        env.awaitRoute(topic);
        var route = admin.examineTopicRouteInfo(topic);
        Check.equal(1, route.getBrokerDatas().size(), "brokers of the route");
        Check.equal(broker, route.getBrokerDatas().get(0).selectBrokerAddr(), "address in the route");
        Check.equal(env.servers.brokerName(), route.getBrokerDatas().get(0).getBrokerName(), "broker name in the route");
        Check.equal(3, route.getQueueDatas().get(0).getReadQueueNums(), "read queues");
        Check.equal(5, route.getQueueDatas().get(0).getWriteQueueNums(), "write queues");
        Check.that(admin.fetchAllTopicList().getTopicList().contains(topic), "topic in the list of all topics");

        // A registration of all topics that is under way can undo a change at the name server, so there is a second try.
        AtomicInteger queues = new AtomicInteger(8);
        Check.eventually(Check.SOON, () -> {
            int n = queues.getAndIncrement();
            admin.createAndUpdateTopicConfig(broker, new TopicConfig(topic, n, n, 4));
            return Check.eventually(Duration.ofSeconds(10), () -> {
                var q = admin.examineTopicRouteInfo(topic).getQueueDatas().get(0);
                Check.equal(n, q.getReadQueueNums(), "read queues after the change");
                Check.equal(4, q.getPerm(), "permission after the change");
                return q;
            });
        });
        String made = env.name("made");
        createTopic(admin, env.servers.cluster(), made);
        Check.eventually(Check.SOON, () -> {
            Check.equal(2, admin.examineTopicRouteInfo(made).getQueueDatas().get(0).getWriteQueueNums(), "queues");
            return null;
        });
    }

    /** The call that every client has; its parameters differ between the versions. */
    private static void createTopic(DefaultMQAdminExt admin, String key, String topic) throws Exception {
        for (Method m : DefaultMQAdminExt.class.getMethods()) {
            if (m.getName().equals("createTopic") && m.getParameterCount() == 4
                && m.getParameterTypes()[3] == Map.class) {
                m.invoke(admin, key, topic, 2, Map.of());
                return;
            }
        }
        for (Method m : DefaultMQAdminExt.class.getMethods()) {
            if (m.getName().equals("createTopic") && m.getParameterCount() == 3) {
                m.invoke(admin, key, topic, 2);
                return;
            }
        }
        throw new AssertionError("this client has no createTopic");
    }

    static void topicErrors(Env env) throws Exception {
        DefaultMQAdminExt admin = env.servers.admin();
        String broker = env.servers.broker();
        for (String name : new String[] {"no good", "SCHEDULE_TOPIC_XXXX", "TBW102", "t".repeat(128)}) {
            var got = env.servers.call(broker, 17, topicHeader(name), null);
            Check.equal(29, got.getCode(), "code for " + name);
        }
        MQClientException e = Check.fails(MQClientException.class, () -> admin.examineTopicRouteInfo(env.name("none")));
        Check.equal(17, e.getResponseCode(), "code of the name server");
        Check.contains("No topic route info in name server for the topic", e.getMessage());
    }

    private static Map<String, String> topicHeader(String topic) {
        return Map.of("topic", topic, "defaultTopic", "TBW102", "readQueueNums", "1", "writeQueueNums", "1",
            "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false");
    }

    static void topicDelete(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String topic = env.topic(2);
        String group = Groups.create(env);
        DefaultMQProducer p = env.producer();
        env.sendKeys(p, topic, "d", 6);
        Offsets.commit(env, group, topic, 0, 2);
        admin.deleteTopicInBroker(Set.of(env.servers.broker()), topic);
        // A registration of all topics that was under way brings the topic back to the name server. By hand, as the versions
        // of the client differ in the order of topic and cluster.
        Check.await(Check.SOON, () -> {
            env.servers.call(env.servers.namesrv, 216, Map.of("topic", topic, "clusterName", env.servers.cluster()), null);
            return !admin.fetchAllTopicList().getTopicList().contains(topic);
        }, () -> "the topic is still in the list");
        Check.fails(MQClientException.class, () -> admin.examineTopicRouteInfo(topic));
        // Made anew it is empty: neither messages nor offsets come back.
        admin.createAndUpdateTopicConfig(env.servers.broker(), new TopicConfig(topic, 2, 2, 6));
        env.awaitRoute(topic);
        env.readAll(env.pullConsumer(), topic, 0);
        Check.equal(-1L, Offsets.committed(env, group, topic, 0), "offset of a group in the new topic");
        Check.equal(0L, env.producer().send(env.message(topic, "d")).getQueueOffset(), "first offset of the new topic");
    }

    static void topicStats(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String topic = env.topic(2);
        DefaultMQProducer p = env.producer();
        long before = System.currentTimeMillis();
        for (int i = 0; i < 5; i++) {
            p.send(env.message(topic, "s"), new MessageQueue(topic, env.servers.brokerName(), 0));
        }
        long after = System.currentTimeMillis();
        var table = Check.eventually(Check.SOON, () -> {
            var t = admin.examineTopicStats(topic).getOffsetTable();
            Check.equal(5L, t.get(new MessageQueue(topic, env.servers.brokerName(), 0)).getMaxOffset(), "max offset");
            return t;
        });
        Check.equal(2, table.size(), "queues");
        var first = table.get(new MessageQueue(topic, env.servers.brokerName(), 0));
        Check.equal(0L, first.getMinOffset(), "min offset");
        long last = first.getLastUpdateTimestamp();
        Check.that(last >= before - 5 && last <= after + 5, "time of the last message: " + last);
        var second = table.get(new MessageQueue(topic, env.servers.brokerName(), 1));
        Check.equal(0L, second.getMaxOffset(), "max offset of the empty queue");
    }

    static void group(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String broker = env.servers.broker();
        String group = env.name("g");
        Groups.save(admin, broker, group, 3);
        var config = admin.examineSubscriptionGroupConfig(broker, group);
        Check.equal(group, config.getGroupName(), "group name");
        Check.equal(3, config.getRetryMaxTimes(), "most retries");
        Check.equal(true, config.isConsumeEnable(), "consuming allowed");
        Groups.save(admin, broker, group, 5);
        Check.equal(5, admin.examineSubscriptionGroupConfig(broker, group).getRetryMaxTimes(), "most retries, changed");

        String topic = env.topic(1);
        env.sendKeys(env.producer(), topic, "g", 3);
        Offsets.commit(env, group, topic, 0, 2);
        admin.deleteSubscriptionGroup(broker, group);
        Check.equal(2L, Offsets.committed(env, group, topic, 0), "offset that outlives its group");
        // By hand, as the versions of the client differ in the name of this field.
        env.servers.call(broker, 207, Map.of("groupName", group, "cleanOffset", "true"), null);
        Check.equal(0L, Offsets.committed(env, group, topic, 0), "offset of the group after its end");
        var all = env.servers.call(broker, 201, Map.of(), null);
        Check.equal(0, all.getCode(), "code of the list of groups");
        Check.that(!new String(all.getBody(), "UTF-8").contains("\"" + group + "\""), "group in the list of groups");
    }

    static void cluster(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        var info = admin.examineBrokerClusterInfo();
        Check.equal(Set.of(env.servers.cluster()), info.getClusterAddrTable().keySet(), "clusters");
        Check.equal(Set.of(env.servers.brokerName()), info.getClusterAddrTable().get(env.servers.cluster()), "brokers");
        var data = info.getBrokerAddrTable().get(env.servers.brokerName());
        Check.equal(env.servers.broker(), data.getBrokerAddrs().get(0L), "address of the master");
        Check.equal(env.servers.cluster(), data.getCluster(), "cluster of the broker");
        String topic = env.topic(1);
        Check.that(admin.fetchTopicsByCLuster(env.servers.cluster()).getTopicList().contains(topic),
            "topic in the list of the cluster's topics");
        Check.equal(Set.of(), admin.fetchTopicsByCLuster(env.name("none")).getTopicList(), "topics of no cluster");
        Check.equal(Set.of(env.servers.cluster()), admin.getTopicClusterList(topic), "clusters of the topic");
        Check.equal(List.of(env.servers.namesrv), admin.getNameServerAddressList(), "name servers");
    }

    private static Properties properties(String key, String value) {
        Properties p = new Properties();
        p.setProperty(key, value);
        return p;
    }

    static void broker(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String broker = env.servers.broker();
        Properties config = admin.getBrokerConfig(broker);
        Check.equal(env.servers.brokerName(), config.getProperty("brokerName"), "brokerName");
        Check.equal(env.servers.cluster(), config.getProperty("brokerClusterName"), "brokerClusterName");
        Check.equal("4194304", config.getProperty("maxMessageSize"), "maxMessageSize");
        // A setting without effect as long as pulls are held for long.
        String key = "shortPollingTimeMills";
        for (String value : new String[] {"1100", "1000"}) {
            admin.updateBrokerConfig(broker, properties(key, value));
            Check.equal(value, admin.getBrokerConfig(broker).getProperty(key), key + " after the change");
        }
        Check.refused(16, () -> {
            admin.updateBrokerConfig(broker, properties("brokerConfigPath", "/nowhere"));
            return null;
        });
        Map<String, String> stats = admin.fetchBrokerRuntimeStats(broker).getTable();
        for (String name : new String[] {"bootTimestamp", "brokerVersionDesc", "putTps", "getTotalTps",
            "msgPutTotalTodayNow", "commitLogMaxOffset", "commitLogMinOffset", "runtime", "putMessageTimesTotal"}) {
            Check.that(stats.containsKey(name), "no " + name + " in the broker's figures: " + stats.keySet());
        }
        Check.that(Long.parseLong(stats.get("commitLogMaxOffset")) > 0, "commitLogMaxOffset");
    }
}
