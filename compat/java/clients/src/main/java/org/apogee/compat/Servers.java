package org.apogee.compat;

import java.util.Map;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.SerializeType;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** The name server under test, the one broker behind it, and the two clients that all scenarios share. */
final class Servers implements AutoCloseable {
    private static final long CALL_MILLIS = 10_000;

    final String namesrv;
    /** Part of all names, so that runs against the same servers do not meet. */
    final String run = Long.toString(System.currentTimeMillis(), 36) + Long.toString(ProcessHandle.current().pid(), 36);

    private DefaultMQAdminExt admin;
    private NettyRemotingClient remoting;
    private String broker;
    private String brokerName;
    private String cluster;

    Servers(String namesrv) {
        this.namesrv = namesrv;
    }

    /** Signs requests with the credentials of the environment; null when there are none. */
    static RPCHook hook() {
        String accessKey = System.getenv("COMPAT_ACCESS_KEY");
        return accessKey == null ? null
            : new AclClientRPCHook(new SessionCredentials(accessKey, System.getenv("COMPAT_SECRET_KEY")));
    }

    <T extends ClientConfig> T setUp(T client, String instance) {
        client.setNamesrvAddr(namesrv);
        client.setInstanceName(run + "-" + instance);
        client.setClientIP("127.0.0.1");
        client.setClientCallbackExecutorThreads(2);
        // A 5.x consumer whose first rebalance meets its own heartbeat does not tell the broker of its subscription until the
        // next one; every pull is refused meanwhile.
        client.setHeartbeatBrokerInterval(3000);
        return client;
    }

    synchronized DefaultMQAdminExt admin() throws Exception {
        if (admin == null) {
            DefaultMQAdminExt a = setUp(new DefaultMQAdminExt(hook(), CALL_MILLIS), "shared-admin");
            a.start();
            admin = a;
        }
        return admin;
    }

    /** Address of the master, as clients are told it. */
    String broker() throws Exception {
        learn();
        return broker;
    }

    String brokerName() throws Exception {
        learn();
        return brokerName;
    }

    String cluster() throws Exception {
        learn();
        return cluster;
    }

    private synchronized void learn() throws Exception {
        if (broker != null) {
            return;
        }
        var table = Check.eventually(Check.SOON, () -> {
            var found = admin().examineBrokerClusterInfo().getBrokerAddrTable();
            Check.equal(1, found.size(), "brokers known to the name server");
            return found;
        });
        var data = table.values().iterator().next();
        brokerName = data.getBrokerName();
        cluster = data.getCluster();
        broker = data.getBrokerAddrs().get(0L);
        Check.that(broker != null, "a master of " + brokerName);
    }

    /** Sends a request made by hand, for what the clients refuse to send, and returns the answer. */
    RemotingCommand call(String addr, int code, Map<String, String> header, byte[] body) throws Exception {
        return call(addr, RemotingCommand.getSerializeTypeConfigInThisServer(), code, header, body);
    }

    RemotingCommand call(String addr, SerializeType type, int code, Map<String, String> header, byte[] body)
        throws Exception {
        RemotingCommand cmd = RemotingCommand.createRequestCommand(code, null);
        cmd.setSerializeTypeCurrentRPC(type);
        header.forEach(cmd::addExtField);
        cmd.setBody(body);
        return remoting().invokeSync(addr, cmd, CALL_MILLIS);
    }

    private synchronized NettyRemotingClient remoting() {
        if (remoting == null) {
            NettyRemotingClient r = new NettyRemotingClient(new NettyClientConfig());
            if (hook() != null) {
                r.registerRPCHook(hook());
            }
            r.start();
            remoting = r;
        }
        return remoting;
    }

    @Override
    public synchronized void close() {
        if (admin != null) {
            admin.shutdown();
        }
        if (remoting != null) {
            remoting.shutdown();
        }
    }
}
