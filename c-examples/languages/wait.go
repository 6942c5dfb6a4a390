// Waits on the CPU for a number of microseconds, by libbusy through cgo.
//
//	PKG_CONFIG_PATH=PREFIX/lib/pkgconfig CGO_LDFLAGS=-Wl,-rpath,PREFIX/lib go run wait.go 1500
package main

// #cgo pkg-config: busy
// #include <busy.h>
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
)

func check(status C.busy_status) {
	if status != C.BUSY_OK {
		fmt.Fprintf(os.Stderr, "wait.go: %s\n", C.GoString(C.busy_strerror(status)))
		os.Exit(1)
	}
}

// cpuNs returns the CPU time of the calling thread, in nanoseconds.
func cpuNs() uint64 {
	var time C.uint64_t
	check(C.busy_thread_cpu_ns(0, &time))
	return uint64(time)
}

func main() {
	us := uint64(1000)
	if len(os.Args) > 1 {
		number, err := strconv.ParseUint(os.Args[1], 10, 64)
		if err != nil {
			fmt.Fprintf(os.Stderr, "wait.go: %v\n", err)
			os.Exit(2)
		}
		us = number
	}
	// The CPU time is that of a thread, so the goroutine must not move to another one.
	runtime.LockOSThread()
	var result C.busy_wait_result
	before := cpuNs()
	check(C.busy_wait_ns(C.uint64_t(us*1000), nil, &result))
	fmt.Printf("requested  %12d ns\nelapsed    %12d ns\n", us*1000, result.elapsed_ns)
	fmt.Printf("cpu        %12d ns\ncount      %12d polls of CLOCK_MONOTONIC\n", cpuNs()-before, result.count)
}
