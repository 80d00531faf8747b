package org.apogee.compat;

import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What the name server keeps by itself. */
final class NamesrvScenarios {
    private NamesrvScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("namesrv-kv", NamesrvScenarios::kv);
        all.put("namesrv-config", NamesrvScenarios::config);
    }

    /** Scenarios that change what others stand on; they need servers of their own. */
    static void addExclusiveTo(Map<String, Scenario> all) {
        all.put("namesrv-write-perm", NamesrvScenarios::writePerm);
        all.put("namesrv-by-http", NamesrvScenarios::byHttp);
    }

    static void kv(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String space = env.name("space");
        admin.createAndUpdateKvConfig(space, "one", "first; value=1");
        admin.createAndUpdateKvConfig(space, "two", "zwei");
        Check.equal("first; value=1", admin.getKVConfig(space, "one"), "value");
        Check.equal(Map.of("one", "first; value=1", "two", "zwei"), admin.getKVListByNamespace(space).getTable(), "all");
        admin.createAndUpdateKvConfig(space, "one", "changed");
        Check.equal("changed", admin.getKVConfig(space, "one"), "value after the change");
        admin.deleteKvConfig(space, "one");
        MQClientException e = Check.fails(MQClientException.class, () -> admin.getKVConfig(space, "one"));
        Check.equal(22, e.getResponseCode(), "code for a key that is gone");
        Check.equal(Map.of("two", "zwei"), admin.getKVListByNamespace(space).getTable(), "what is left");
        e = Check.fails(MQClientException.class, () -> admin.getKVListByNamespace(env.name("none")));
        Check.equal(22, e.getResponseCode(), "code for a namespace that is not there");
    }

    static void config(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        List<String> at = List.of(env.servers.namesrv);
        Properties got = admin.getNameServerConfig(at).get(env.servers.namesrv);
        Check.equal(env.servers.namesrv.split(":")[1], got.getProperty("listenPort"), "listenPort");
        Properties change = new Properties();
        change.setProperty("productEnvName", "compat");
        admin.updateNameServerConfig(change, at);
        Check.equal("compat", admin.getNameServerConfig(at).get(env.servers.namesrv).getProperty("productEnvName"),
            "productEnvName after the change");
        Properties forbidden = new Properties();
        forbidden.setProperty("kvConfigPath", "/nowhere");
        Exception e = Check.fails(Exception.class, () -> {
            admin.updateNameServerConfig(forbidden, at);
            return null;
        });
        int code = e instanceof MQClientException ? ((MQClientException) e).getResponseCode()
            : ((MQBrokerException) e).getResponseCode();
        Check.equal(16, code, "code for a setting that may not be changed");
    }

    static void writePerm(Env env) throws Exception {
        DefaultMQAdminExt admin = env.newAdmin();
        String topic = env.topic(2);
        Check.that(admin.wipeWritePermOfBroker(env.servers.namesrv, env.servers.brokerName()) > 0, "topics wiped");
        Check.equal(4, admin.examineTopicRouteInfo(topic).getQueueDatas().get(0).getPerm(), "permission wiped");
        DefaultMQProducer p = env.producer();
        Check.fails(MQClientException.class, () -> p.send(env.message(topic, "w")));
        Check.that(admin.addWritePermOfBroker(env.servers.namesrv, env.servers.brokerName()) > 0, "topics added");
        Check.equal(6, admin.examineTopicRouteInfo(topic).getQueueDatas().get(0).getPerm(), "permission added");
        env.sendKeys(env.producer(), topic, "w", 1);
    }

    /** Clients without a list ask the host of -Drocketmq.namesrv.domain for one. */
    static void byHttp(Env env) throws Exception {
        Check.that(System.getProperty("rocketmq.namesrv.domain") != null, "rocketmq.namesrv.domain is set");
        String topic = env.topic(2);
        DefaultMQProducer p = env.newProducer();
        p.setNamesrvAddr(null);
        p.start();
        List<String> keys = env.sendKeys(p, topic, "h", 10);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer c = env.pushConsumer(env.name("g"));
        c.setNamesrvAddr(null);
        c.subscribe(topic, "*");
        c.registerMessageListener(inbox.listener());
        c.start();
        inbox.awaitExactly(keys);
    }
}
