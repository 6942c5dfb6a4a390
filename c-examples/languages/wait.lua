-- Waits on the CPU for a number of microseconds, by libbusy through the ffi library of LuaJIT.
--
--     luajit wait.lua libbusy.so.1 1500

local ffi = require("ffi")

ffi.cdef [[
    typedef struct { uint64_t count; uint64_t elapsed_ns; } busy_wait_result;
    uint32_t busy_abi_version(void);
    const char *busy_strerror(int32_t status);
    int32_t busy_wait_ns(uint64_t ns, const void *options, busy_wait_result *result);
    int32_t busy_thread_cpu_ns(uint32_t tid, uint64_t *cpu_ns);
]]

local busy = ffi.load(arg[1] or "libbusy.so.1")

local function check(status)
    if status ~= 0 then
        error(ffi.string(busy.busy_strerror(status)), 0)
    end
end

-- Returns the CPU time of the calling thread, in nanoseconds.
local function cpu_ns()
    local time = ffi.new("uint64_t[1]")
    check(busy.busy_thread_cpu_ns(0, time))
    return tonumber(time[0])
end

local major = bit.rshift(busy.busy_abi_version(), 16)
assert(major == 1, "expected libbusy with ABI 1, found " .. major)

local requested = (tonumber(arg[2]) or 1000) * 1000
local result = ffi.new("busy_wait_result")
local before = cpu_ns()
check(busy.busy_wait_ns(requested, nil, result))
print(("requested  %12d ns"):format(requested))
print(("elapsed    %12d ns"):format(tonumber(result.elapsed_ns)))
print(("cpu        %12d ns"):format(cpu_ns() - before))
print(("count      %12d polls of CLOCK_MONOTONIC"):format(tonumber(result.count)))
