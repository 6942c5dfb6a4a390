//! Calls of CPython that may end the calling thread.
//!
//! Once the interpreter has begun to shut down, CPython before 3.14 ends every other thread that acquires the GIL:
//! `take_gil` (Python/ceval_gil.c) calls pthread_exit(3). glibc then unwinds the thread's stack, and aborts the process
//! if a frame stops the unwinding. Rust's frames do: a `catch_unwind`, or a value that has to be dropped. Whether the
//! interpreter shuts down can't be asked before the call, since the shutdown may begin during the call.
//!
//! So such a call is made through a frame that never lets the unwinding reach the frames above it: the thread sleeps
//! there until the process ends, as CPython 3.14 lets it sleep (`PyThread_hang_thread`, Python/thread.c). The frame
//! does this in its personality routine, which glibc's unwinder calls before it looks for anything to run in the frame
//! (LSB Core, `_Unwind_ForcedUnwind`). A value with a `Drop` that sleeps would not do: to run it, the personality
//! routine of Rust has to change the unwinder's context, which fails if this library contains an unwinder of its own.

use std::arch::global_asm;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

/// A function of CPython with one pointer argument and no result.
pub type MayEndThread = unsafe extern "C-unwind" fn(*mut c_void);

unsafe extern "C" {
    /// Calls `function(argument)`.
    fn busy_gil_call_or_sleep(function: MayEndThread, argument: *mut c_void);
}

global_asm!(
    ".pushsection .text.busy_gil_call_or_sleep, \"ax\", @progbits",
    ".globl busy_gil_call_or_sleep",
    ".hidden busy_gil_call_or_sleep",
    ".type busy_gil_call_or_sleep, @function",
    "busy_gil_call_or_sleep:",
    ".cfi_startproc",
    // DW_EH_PE_pcrel | DW_EH_PE_sdata4
    ".cfi_personality 0x1b, {personality}",
    "endbr64",
    "sub rsp, 8",
    ".cfi_adjust_cfa_offset 8",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "add rsp, 8",
    ".cfi_adjust_cfa_offset -8",
    "ret",
    ".cfi_endproc",
    ".size busy_gil_call_or_sleep, . - busy_gil_call_or_sleep",
    ".popsection",
    personality = sym personality,
);

/// What a thread runs before it sleeps.
static LAST_ACT: OnceLock<fn()> = OnceLock::new();

/// Makes `last_act` the function that a thread runs if CPython ends it inside [`call`]. The first registration counts.
pub(crate) fn register(last_act: fn()) {
    _ = LAST_ACT.set(last_act);
}

/// Calls `function(argument)`. If CPython ends the thread during the call, it does not return: the thread sleeps until
/// the process ends, and nothing that the callers own is dropped.
///
/// # Safety
/// `function` may be called with `argument`, and does not unwind with a Rust panic or a C++ exception.
pub unsafe fn call(function: MayEndThread, argument: *mut c_void) {
    // SAFETY: the caller guarantees it. The frame stops every forced unwind, so it never reaches this one.
    unsafe { busy_gil_call_or_sleep(function, argument) }
}

/// The personality routine of the frame (Itanium C++ ABI: Exception Handling, 1.6).
extern "C" fn personality(_version: c_int, actions: c_int, _class: u64, _: *mut c_void, _: *mut c_void) -> c_int {
    const FORCE_UNWIND: c_int = 8;
    const CONTINUE_UNWIND: c_int = 8;
    if actions & FORCE_UNWIND == 0 {
        return CONTINUE_UNWIND;
    }
    if let Some(last_act) = LAST_ACT.get() {
        last_act();
    }
    loop {
        // SAFETY: pause(2) returns after each signal handler that has run in this thread.
        unsafe { libc::pause() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    static HAS_ACTED: AtomicBool = AtomicBool::new(false);

    unsafe extern "C-unwind" fn store(place: *mut c_void) {
        // SAFETY: the test passes a live i32.
        unsafe { place.cast::<i32>().write(7) };
    }

    unsafe extern "C-unwind" fn exit(_: *mut c_void) {
        unsafe extern "C-unwind" {
            fn pthread_exit(value: *mut c_void) -> !;
        }
        // SAFETY: the forced unwind ends in the frame that called this function.
        unsafe { pthread_exit(std::ptr::null_mut()) }
    }

    #[test]
    fn a_call_passes_its_argument_and_returns() {
        let mut place = 0;
        // SAFETY: `store` takes a live i32.
        unsafe { call(store, (&raw mut place).cast()) };
        assert_eq!(place, 7);
    }

    #[test]
    fn a_thread_that_is_ended_sleeps_and_drops_nothing() {
        struct DropNoted(mpsc::Sender<()>);
        impl Drop for DropNoted {
            fn drop(&mut self) {
                _ = self.0.send(());
            }
        }
        register(|| HAS_ACTED.store(true, Ordering::Release));
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(|| {
            let _noted = DropNoted(sender);
            // SAFETY: `exit` ignores its argument.
            _ = std::panic::catch_unwind(|| unsafe { call(exit, std::ptr::null_mut()) });
        });
        assert_eq!(receiver.recv_timeout(Duration::from_millis(200)), Err(mpsc::RecvTimeoutError::Timeout));
        assert!(HAS_ACTED.load(Ordering::Acquire) && !thread.is_finished());
    }
}
