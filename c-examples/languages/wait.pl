# Waits on the CPU for a number of microseconds, by libbusy through FFI::Platypus (Debian: libffi-platypus-perl).
#
#     perl wait.pl libbusy.so.1 1500

use strict;
use warnings;

package WaitResult {
    use FFI::Platypus::Record;
    record_layout_1(uint64 => 'count', uint64 => 'elapsed_ns');
}

use FFI::Platypus 2.00;
my $ffi = FFI::Platypus->new(api => 2, lib => $ARGV[0] // 'libbusy.so.1');
$ffi->type('record(WaitResult)' => 'wait_result');
$ffi->attach(busy_abi_version => [] => 'uint32');
$ffi->attach(busy_strerror => ['sint32'] => 'string');
$ffi->attach(busy_wait_ns => ['uint64', 'opaque', 'wait_result*'] => 'sint32');
$ffi->attach(busy_thread_cpu_ns => ['uint32', 'uint64*'] => 'sint32');

sub check {
    my ($status) = @_;
    die 'wait.pl: ', busy_strerror($status), "\n" if $status != 0;
}

# Returns the CPU time of the calling thread, in nanoseconds.
sub cpu_ns {
    my $time = 0;
    check(busy_thread_cpu_ns(0, \$time));
    return $time;
}

my $major = busy_abi_version() >> 16;
die "wait.pl: expected libbusy with ABI 1, found $major\n" if $major != 1;

my $requested = ($ARGV[1] // 1000) * 1000;
my $result = WaitResult->new;
my $before = cpu_ns();
check(busy_wait_ns($requested, undef, $result));
printf "requested  %12d ns\nelapsed    %12d ns\n", $requested, $result->elapsed_ns;
printf "cpu        %12d ns\ncount      %12d polls of CLOCK_MONOTONIC\n", cpu_ns() - $before, $result->count;
