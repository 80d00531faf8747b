package org.apogee.compat;

import java.time.Duration;
import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import org.apache.rocketmq.client.exception.MQBrokerException;

/** Assertions and bounded waits. */
final class Check {
    /** Longest wait for something that has no period of its own. Only a failure or a loaded machine takes so long. */
    static final Duration SOON = Duration.ofSeconds(60);

    private static final long POLL_MILLIS = 10;

    private Check() {
    }

    static void equal(Object expected, Object actual, String what) {
        if (!Objects.equals(expected, actual)) {
            throw new AssertionError(what + ": expected " + expected + ", got " + actual);
        }
    }

    static void sameBytes(byte[] expected, byte[] actual, String what) {
        if (!Arrays.equals(expected, actual)) {
            throw new AssertionError(what + ": bytes differ, " + expected.length + " expected, "
                + (actual == null ? "null" : actual.length + " got"));
        }
    }

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void contains(String part, String whole) {
        if (whole == null || !whole.contains(part)) {
            throw new AssertionError("expected \"" + part + "\" in \"" + whole + "\"");
        }
    }

    static void await(Duration limit, Callable<Boolean> condition, Supplier<String> state) throws Exception {
        long end = System.nanoTime() + limit.toNanos();
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("after " + limit.toSeconds() + " s: " + state.get());
            }
            Thread.sleep(POLL_MILLIS);
        }
    }

    /** Repeats what throws until it does not; for facts that servers learn a moment after the answer. */
    static <T> T eventually(Duration limit, Callable<T> action) throws Exception {
        long end = System.nanoTime() + limit.toNanos();
        while (true) {
            try {
                return action.call();
            } catch (InterruptedException e) {
                throw e;
            } catch (Exception | AssertionError e) {
                if (System.nanoTime() > end) {
                    throw e;
                }
            }
            Thread.sleep(POLL_MILLIS);
        }
    }

    static <E extends Throwable> E fails(Class<E> type, Callable<?> action) throws Exception {
        Object got;
        try {
            got = action.call();
        } catch (Throwable e) {
            if (type.isInstance(e)) {
                return type.cast(e);
            }
            throw new AssertionError("expected " + type.getSimpleName() + ", got " + e, e);
        }
        throw new AssertionError("expected " + type.getSimpleName() + ", got " + got);
    }

    /** The broker's refusal, looked for along the causes as some calls wrap it. */
    static void refused(int code, Callable<?> action) throws Exception {
        Throwable e = fails(Exception.class, action);
        while (e != null && !(e instanceof MQBrokerException)) {
            e = e.getCause();
        }
        that(e != null, "expected a refusal by the broker with code " + code);
        equal(code, ((MQBrokerException) e).getResponseCode(), "response code of: " + e.getMessage());
    }
}
