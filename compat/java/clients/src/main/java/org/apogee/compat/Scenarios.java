package org.apogee.compat;

import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.regex.Pattern;

/**
 * Runs scenarios against a name server and prints one line each: PASS name ms, or FAIL name reason; at the end DONE and how
 * many there were. Exit code 0 when all passed, 1 when one failed, 2 for a command line that makes no sense.
 */
public final class Scenarios {
    private static final String USAGE = "usage: Scenarios --namesrv host:port [--scenario name|all] [--match regexp]"
        + " [--parallel n] [--list]; for the steady scenarios also --topic name --group name";
    private static final long LIMIT_SECONDS = 180;

    private final Servers servers;
    private final PrintStream out = System.out;

    private Scenarios(Servers servers) {
        this.servers = servers;
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> options = parse(args);
        if (options == null || !options.containsKey("namesrv") && !options.containsKey("list")) {
            System.err.println(USAGE);
            System.exit(2);
        }
        silence();
        if (options.containsKey("list")) {
            all().keySet().forEach(System.out::println);
            return;
        }
        String name = options.getOrDefault("scenario", "all");
        if (name.startsWith("steady-")) {
            try {
                Steady.run(name, options);
            } catch (Exception e) { // the client's threads would keep the process
                e.printStackTrace();
                System.exit(1);
            }
            return;
        }
        System.exit(runChosen(options, name) ? 0 : 1);
    }

    private static Map<String, String> parse(String[] args) {
        Map<String, String> options = new LinkedHashMap<>();
        for (int i = 0; i < args.length; i++) {
            if (args[i].equals("--list")) {
                options.put("list", "");
            } else if (args[i].startsWith("--") && i + 1 < args.length) {
                options.put(args[i].substring(2), args[++i]);
            } else {
                return null;
            }
        }
        return options;
    }

    /** Read by the client's classes as they load, hence first of all. Nothing is left in the home directory. */
    private static void silence() throws Exception {
        Path dir = Files.createTempDirectory("apogee-compat-java");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(dir)));
        System.setProperty("rocketmq.client.localOffsetStoreDir", dir.resolve("offsets").toString());
        System.setProperty("rocketmq.client.logUseSlf4j", "true");
    }

    private static void delete(Path dir) {
        try (var files = Files.walk(dir)) {
            files.sorted((a, b) -> b.compareTo(a)).forEach(p -> p.toFile().delete());
        } catch (java.io.IOException e) {
            // A temporary folder that stays behind harms nobody.
        }
    }

    /** All scenarios by name; those that take longest come first, which shortens the whole run. */
    static Map<String, Scenario> all() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        RetryScenarios.addTo(all);
        ResetScenarios.addTo(all);
        PopScenarios.addTo(all);
        PriorityScenarios.addTo(all);
        TimerScenarios.addTo(all);
        DelayScenarios.addTo(all);
        CodecScenarios.addTo(all);
        OrderlyScenarios.addTo(all);
        PushScenarios.addTo(all);
        SqlScenarios.addTo(all);
        FromWhereScenarios.addTo(all);
        LitePullScenarios.addTo(all);
        ReplyScenarios.addTo(all);
        PullScenarios.addTo(all);
        InnerBatchScenarios.addTo(all);
        SendScenarios.addTo(all);
        SendErrorScenarios.addTo(all);
        QueryScenarios.addTo(all);
        AdminScenarios.addTo(all);
        ConsumerAdminScenarios.addTo(all);
        NamesrvScenarios.addTo(all);
        return all;
    }

    /** Lite topics need a broker with light message queues, and a client that has the calls for them. */
    private static void addLite(Map<String, Scenario> all) throws Exception {
        try {
            Class.forName("org.apogee.compat.LitePop").getDeclaredMethod("addTo", Map.class).invoke(null, all);
        } catch (ClassNotFoundException e) {
            return; // left out of this build
        }
    }

    private static boolean runChosen(Map<String, String> options, String names) throws Exception {
        Map<String, Scenario> all = all();
        List<String> together = List.copyOf(all.keySet());
        NamesrvScenarios.addExclusiveTo(all);
        TraceScenarios.addExclusiveTo(all);
        TimerScenarios.addExclusiveTo(all);
        DelayScenarios.addExclusiveTo(all);
        addLite(all);
        TransactionScenarios.addExclusiveTo(all);
        Pattern match = Pattern.compile(options.getOrDefault("match", ""));
        List<String> chosen = new ArrayList<>();
        for (String name : names.equals("all") ? together : List.of(names.split(","))) {
            if (!all.containsKey(name)) {
                System.err.println("no scenario is called " + name);
                System.exit(2);
            }
            if (match.matcher(name).find()) {
                chosen.add(name);
            }
        }
        int parallel = Integer.parseInt(options.getOrDefault("parallel", "6"));
        try (Servers servers = new Servers(options.get("namesrv"))) {
            return new Scenarios(servers).runAll(all, chosen, parallel);
        }
    }

    private boolean runAll(Map<String, Scenario> all, List<String> names, int parallel) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(parallel);
        ScheduledExecutorService watch = Executors.newSingleThreadScheduledExecutor();
        try {
            List<Callable<Boolean>> jobs = new ArrayList<>();
            names.forEach(name -> jobs.add(() -> runOne(name, all.get(name), watch)));
            boolean passed = true;
            for (Future<Boolean> f : pool.invokeAll(jobs)) {
                passed &= f.get();
            }
            say("DONE " + names.size());
            return passed;
        } finally {
            pool.shutdownNow();
            watch.shutdownNow();
        }
    }

    private boolean runOne(String name, Scenario scenario, ScheduledExecutorService watch) {
        long start = System.nanoTime();
        AtomicBoolean late = new AtomicBoolean();
        Thread self = Thread.currentThread();
        ScheduledFuture<?> limit = watch.schedule(() -> {
            late.set(true);
            self.interrupt();
        }, LIMIT_SECONDS, TimeUnit.SECONDS);
        try (Env env = new Env(servers, name)) {
            scenario.run(env);
            limit.cancel(false);
            say("PASS " + name + " " + TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start));
            return true;
        } catch (Throwable e) {
            limit.cancel(false);
            say("FAIL " + name + " " + (late.get() ? "not done after " + LIMIT_SECONDS + " s; " : "") + reason(e));
            return false;
        }
    }

    /** One write a line, so that lines of parallel scenarios do not mix. */
    private void say(String line) {
        synchronized (out) {
            out.println(line);
            out.flush();
        }
    }

    /** What went wrong, and where in our own code, in one line. */
    private static String reason(Throwable e) {
        StringBuilder text = new StringBuilder();
        for (Throwable t = e; t != null; t = t.getCause()) {
            text.append(t == e ? "" : " <- ");
            text.append(t instanceof AssertionError ? t.getMessage() : t.toString());
        }
        for (StackTraceElement at : e.getStackTrace()) {
            boolean ours = at.getClassName().startsWith("org.apogee.") && !at.getClassName().endsWith(".Check");
            if (ours && !at.getClassName().endsWith(".Scenarios")) {
                text.append(" [").append(at.getFileName()).append(':').append(at.getLineNumber()).append(']');
            }
        }
        return text.toString().replaceAll("\\s+", " ");
    }
}
