// Waits on the CPU for a number of microseconds, by libbusy through koffi (npm install koffi).
//
//     node wait.js libbusy.so.1 1500

"use strict";
const koffi = require("koffi");

const busy = koffi.load(process.argv[2] || "libbusy.so.1");
koffi.struct("busy_wait_result", { count: "uint64_t", elapsed_ns: "uint64_t" });
const abiVersion = busy.func("uint32_t busy_abi_version()");
const strerror = busy.func("const char *busy_strerror(int32_t status)");
const waitNs = busy.func("int32_t busy_wait_ns(uint64_t ns, const void *options, _Out_ busy_wait_result *result)");
const threadCpuNs = busy.func("int32_t busy_thread_cpu_ns(uint32_t tid, _Out_ uint64_t *cpu_ns)");

function check(status) {
    if (status !== 0) {
        throw new Error(strerror(status));
    }
}

// Returns the CPU time of the calling thread, in nanoseconds.
function cpuNs() {
    const time = [0];
    check(threadCpuNs(0, time));
    return Number(time[0]);
}

if (abiVersion() >> 16 !== 1) {
    throw new Error(`expected libbusy with ABI 1, found ${abiVersion() >> 16}`);
}

const requested = Number(process.argv[3] || "1000") * 1000;
const result = {};
const before = cpuNs();
check(waitNs(requested, null, result));
const show = (name, value, unit) => console.log(`${name.padEnd(10)} ${String(value).padStart(12)} ${unit}`);
show("requested", requested, "ns");
show("elapsed", result.elapsed_ns, "ns");
show("cpu", cpuNs() - before, "ns");
show("count", result.count, "polls of CLOCK_MONOTONIC");
