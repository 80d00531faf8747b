package org.apogee.compat;

/** One conversation with the servers that either ends as Apache's servers let it end, or throws. */
@FunctionalInterface
interface Scenario {
    void run(Env env) throws Exception;
}
