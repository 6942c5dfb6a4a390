//! The calling thread's own word: which account it used last.
//!
//! Not std's `thread_local!`: in a library that was opened at run time, a thread's first access to one of these allocates
//! and may take the dynamic linker's lock (glibc, elf/dl-tls.c, `tls_get_addr_tail`). The hooks run under the GIL's mutex:
//! a thread that waits for this mutex inside dlopen(3) would wait for ever. The initial-exec model has a fixed place.

use super::ledger::Account;
use std::arch::{asm, global_asm};
use std::ptr::null;

global_asm!(
    ".pushsection .tbss.busy_gil_account, \"awT\", @nobits",
    ".p2align 3",
    ".globl busy_gil_account",
    ".hidden busy_gil_account",
    ".type busy_gil_account, @object",
    ".size busy_gil_account, 8",
    "busy_gil_account:",
    ".zero 8",
    ".popsection",
);

/// The account that this thread used last, or null: accounts are never freed.
#[inline]
pub(super) fn account() -> *const Account {
    let mut word = null();
    // SAFETY: the thread's own word, at the offset from %fs that the dynamic linker wrote down (ELF Handling For TLS, 4.4.6).
    unsafe {
        asm!(
            "mov {word}, qword ptr [rip + busy_gil_account@GOTTPOFF]",
            "mov {word}, qword ptr fs:[{word}]",
            word = inout(reg) word,
            options(nostack, preserves_flags, readonly),
        );
    }
    word
}

/// Remembers `account`.
#[inline]
pub(super) fn set_account(account: *const Account) {
    // SAFETY: as above.
    unsafe {
        asm!(
            "mov {place}, qword ptr [rip + busy_gil_account@GOTTPOFF]",
            "mov qword ptr fs:[{place}], {account}",
            place = out(reg) _,
            account = in(reg) account,
            options(nostack, preserves_flags),
        );
    }
}

/// Tells threads apart without a system call: where the thread's control block is.
#[inline]
pub(super) fn identity() -> usize {
    let identity: usize;
    // SAFETY: the first word of the block is its own address (ELF Handling For TLS, 3.4.6).
    unsafe { asm!("mov {}, qword ptr fs:[0]", out(reg) identity, options(nostack, preserves_flags, pure, readonly)) };
    identity
}

/// gettid(2).
pub(super) fn tid() -> u32 {
    // SAFETY: it takes nothing and only tells who calls.
    unsafe { libc::gettid() as u32 }
}
