package org.apogee.compat;

import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.SerializeType;

/** Frames: binary headers, and codes nobody serves. */
final class CodecScenarios {
    private static final String TYPE = "rocketmq.serialize.type";

    private CodecScenarios() {
    }

    static void addTo(Map<String, Scenario> all) {
        all.put("codec-binary-headers", CodecScenarios::binaryHeaders);
        all.put("codec-both-on-one", CodecScenarios::bothOnOne);
        all.put("codec-spaced-header", CodecScenarios::spacedHeader);
        all.put("codec-unknown-request", CodecScenarios::unknownRequest);
    }

    /** The client chooses its codec when its classes load, so this takes a JVM of its own. */
    static void binaryHeaders(Env env) throws Exception {
        List<String> command = new ArrayList<>(List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-D" + TYPE + "=ROCKETMQ",
            "-cp", System.getProperty("java.class.path"), Scenarios.class.getName(),
            "--namesrv", env.servers.namesrv, "--parallel", "3", "--scenario",
            "send-sync,send-batch,send-error-properties,push-concurrent,push-tag-filter,pull-statuses,admin-topic"));
        Process child = new ProcessBuilder(command).redirectErrorStream(true).start();
        List<String> lines = new ArrayList<>();
        try (BufferedReader r = new BufferedReader(
            new InputStreamReader(child.getInputStream(), StandardCharsets.UTF_8))) {
            for (String line = r.readLine(); line != null; line = r.readLine()) {
                lines.add(line);
            }
            Check.equal(0, child.waitFor(), "exit code of the run with binary headers, which said " + lines);
        } finally {
            child.destroyForcibly();
        }
        Check.equal(7L, lines.stream().filter(l -> l.startsWith("PASS ")).count(), "scenarios passed");
    }

    /** Frames of both codecs on one connection. In which of them the answer comes is the server's choice. */
    static void bothOnOne(Env env) throws Exception {
        for (SerializeType type : SerializeType.values()) {
            for (String addr : new String[] {env.servers.namesrv, env.servers.broker()}) {
                RemotingCommand got = env.servers.call(addr, type, 9999, Map.of("k", "v"), null);
                Check.equal(3, got.getCode(), "code for a request in " + type);
                Check.contains("request type 9999 not supported", got.getRemark());
            }
        }
    }

    /** A header as other languages' libraries write it: white space between its parts, keys in another order. */
    static void spacedHeader(Env env) throws Exception {
        byte[] header = ("{\n  \"opaque\": 77, \"extFields\": { \"a\": \"b\", \"c\" : \"d\" },\t\"language\": \"PYTHON\","
            + " \"flag\": 0, \"version\": 253, \"code\": 9999, \"remark\": null }").getBytes(StandardCharsets.UTF_8);
        for (String addr : new String[] {env.servers.namesrv, env.servers.broker()}) {
            String[] at = addr.split(":");
            try (Socket socket = new Socket(at[0], Integer.parseInt(at[1]))) {
                socket.setSoTimeout(10_000);
                DataOutputStream out = new DataOutputStream(socket.getOutputStream());
                out.writeInt(4 + header.length);
                out.writeInt(header.length);
                out.write(header);
                out.flush();
                DataInputStream in = new DataInputStream(socket.getInputStream());
                byte[] frame = new byte[in.readInt()];
                in.readFully(frame);
                RemotingCommand got = RemotingCommand.decode(ByteBuffer.wrap(frame));
                Check.equal(77, got.getOpaque(), "opaque");
                Check.equal(3, got.getCode(), "code");
            }
        }
    }

    static void unknownRequest(Env env) throws Exception {
        for (String addr : new String[] {env.servers.namesrv, env.servers.broker()}) {
            RemotingCommand got = env.servers.call(addr, 9999, Map.of(), null);
            Check.equal(3, got.getCode(), "code");
            Check.contains("request type 9999 not supported", got.getRemark());
            Check.that(got.isResponseType(), "marked as a response");
        }
    }
}
