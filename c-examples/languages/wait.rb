# Waits on the CPU for a number of microseconds, by libbusy through Fiddle, which is part of Ruby.
#
#     ruby wait.rb libbusy.so.1 1500

require "fiddle/import"

module Busy
  extend Fiddle::Importer
  dlload(ARGV[0] || "libbusy.so.1")
  typealias "uint32_t", "unsigned int"
  typealias "uint64_t", "unsigned long long"
  WaitResult = struct(["uint64_t count", "uint64_t elapsed_ns"])
  extern "uint32_t busy_abi_version()"
  extern "char *busy_strerror(int)"
  extern "int busy_wait_ns(uint64_t, void *, void *)"
  extern "int busy_thread_cpu_ns(uint32_t, void *)"

  def self.check(status)
    abort("wait.rb: #{busy_strerror(status)}") unless status.zero?
  end

  # Returns the CPU time of the calling thread, in nanoseconds.
  def self.cpu_ns
    Fiddle::Pointer.malloc(8, Fiddle::RUBY_FREE) do |time|
      check(busy_thread_cpu_ns(0, time))
      time[0, 8].unpack1("Q")
    end
  end
end

version = Busy.busy_abi_version
abort("wait.rb: expected libbusy with ABI 1, found #{version >> 16}") unless version >> 16 == 1

requested = Integer(ARGV[1] || "1000") * 1000
result = Busy::WaitResult.malloc(Fiddle::RUBY_FREE)
before = Busy.cpu_ns
Busy.check(Busy.busy_wait_ns(requested, nil, result))
printf("requested  %12d ns\nelapsed    %12d ns\n", requested, result.elapsed_ns)
printf("cpu        %12d ns\ncount      %12d polls of CLOCK_MONOTONIC\n", Busy.cpu_ns - before, result.count)
