//! A signal handler that interrupts any instruction of a function, also of its first call in the process.

use crate::header::*;
use crate::library::*;
use crate::{IN_CHILD, env};
use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

/// The flag in RFLAGS that makes the processor raise SIGTRAP after each instruction (Intel SDM vol. 3B, "Single-Step
/// Exception Condition").
const TRAP_FLAG: i64 = 1 << 8;

/// The number of instructions until the handler calls the functions.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// Calls the functions that may wait for another thread's first call. Allocates nothing and takes no lock.
fn call() -> bool {
    let mut ns = 0;
    let mut result = UNTOUCHED;
    let tsc = Options { clock: TSC, ..Options::new(null()) };
    // SAFETY: the pointers are those that busy.h requires.
    let statuses = unsafe {
        [
            (busy().wait_ns)(0, &tsc, &mut result),
            (busy().wait_ns)(0, null(), &mut result),
            (busy().thread_cpu_ns)(0, &mut ns),
        ]
    };
    statuses[1..] == [OK, OK] && [OK, UNSUPPORTED].contains(&statuses[0])
}

extern "C" fn handler(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    if LEFT.fetch_sub(1, Ordering::Relaxed) > 1 {
        return;
    }
    // SAFETY: the kernel passes the state of the interrupted code, from which it continues after the handler. _exit(2)
    // ends the child at once.
    unsafe {
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_EFL as usize] &= !TRAP_FLAG;
        if !call() {
            libc::_exit(2);
        }
    }
}

/// Runs in a forked child. Exits with 0 if the handler has called the functions in the middle of a call, with 1 if the call
/// has fewer than `instructions`, and by SIGALRM if the call does not return.
fn child(instructions: u32) -> ! {
    LEFT.store(instructions, Ordering::Relaxed);
    // SAFETY: zeros are a valid sigaction; the handler calls only what busy.h allows. The two asm blocks change only the
    // trap flag.
    let is_ok = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGTRAP, &action, null_mut());
        libc::alarm(10);
        asm!("pushfq", "or qword ptr [rsp], {flag}", "popfq", flag = const TRAP_FLAG);
        let is_ok = call();
        asm!("pushfq", "and qword ptr [rsp], {flags}", "popfq", flags = const !(TRAP_FLAG as i32));
        is_ok
    };
    let is_interrupted = LEFT.load(Ordering::Relaxed) == 0;
    // SAFETY: ends the child at once.
    unsafe { libc::_exit(if !is_ok { 2 } else { i32::from(!is_interrupted) }) }
}

/// In a process of its own, in which no other test makes the first call.
#[test]
fn a_first_call_may_be_interrupted_at_any_instruction_by_a_handler_that_calls_the_same() {
    let mut process = Command::new(env::current_exe().unwrap());
    process.args(["--exact", "interrupted::after_each_instruction", "--nocapture"]).env(IN_CHILD, "1");
    let output = process.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("interrupted "), "{output:?}");
}

#[test]
fn after_each_instruction() {
    if env::var_os(IN_CHILD).is_none() {
        return;
    }
    // Loads the library; the children inherit it.
    busy();
    // Every fifth instruction, from a different one in each run: all of them would take half a minute.
    let first = 1 + std::process::id() % 5;
    for instructions in (first..).step_by(5) {
        let mut status = 0;
        // SAFETY: the forked child calls only functions that a signal handler may call, as this process has threads.
        unsafe {
            let pid = match libc::fork() {
                0 => child(instructions),
                pid => pid,
            };
            assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
        }
        if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1 {
            assert!(instructions > 100, "the call has only {instructions} instructions");
            return println!("interrupted up to instruction {}", instructions - 1);
        }
        assert_eq!(status, 0, "interrupted after instruction {instructions}: with signal 14, it never returned");
    }
}
