//! Under a filter of seccomp(2) that forbids a system call.

use crate::header::*;
use crate::library::*;
use std::thread;

/// Makes clock_gettime(2) fail with EPERM in the calling thread, which keeps the filter until its end.
fn forbid_clock_gettime() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        // The number of the call is the first field of struct seccomp_data.
        step(LOAD, 0, 0, 0),
        step(IS, 0, 1, libc::SYS_clock_gettime as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: both calls affect the calling thread alone, and the program outlives them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

#[test]
fn a_forbidden_clock_is_unsupported_and_not_a_missing_thread() {
    let statuses = thread::spawn(|| {
        let mut ns = 7;
        forbid_clock_gettime();
        // SAFETY: the pointer has space for one number.
        let [own, missing] = [0, u32::MAX].map(|tid| unsafe { (busy().thread_cpu_ns)(tid, &mut ns) });
        // The vDSO reads CLOCK_MONOTONIC without a system call.
        (own, missing, ns, busy().wait(1000, std::ptr::null()).0)
    });
    assert_eq!(statuses.join().unwrap(), (UNSUPPORTED, NO_SUCH_THREAD, 7, OK));
}
