//! The calling thread: its thread-local words, its identity, its serial number, its id.
//!
//! The words are none of std's `thread_local!` variables: in a library that was opened at run time, a thread's first
//! access to such a variable allocates and may take the dynamic linker's lock (glibc, elf/dl-tls.c,
//! `tls_get_addr_tail`). The hooks run under the GIL's mutex, and a thread inside dlopen(3) holds that lock and may
//! wait for this mutex: both would wait for ever. In the initial-exec model the word has a fixed place.

use std::arch::{asm, global_asm};
use std::ptr::{null, without_provenance};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

global_asm!(
    ".pushsection .tbss.busy_gil_account, \"awT\", @nobits",
    ".p2align 3",
    ".globl busy_gil_account",
    ".hidden busy_gil_account",
    ".type busy_gil_account, @object",
    ".size busy_gil_account, 16",
    "busy_gil_account:",
    ".zero 16",
    ".popsection",
);

/// Returns the thread-local word that is OFFSET bytes behind the first one.
#[inline]
fn load<const OFFSET: usize>() -> *const () {
    let mut word = null();
    // SAFETY: the word is thread-local, at the offset from %fs that the dynamic linker stored (ELF Handling For TLS,
    // 4.4.6).
    unsafe {
        asm!(
            "mov {word}, qword ptr [rip + busy_gil_account@GOTTPOFF]",
            "mov {word}, qword ptr fs:[{word} + {offset}]",
            word = inout(reg) word,
            offset = const OFFSET,
            options(nostack, preserves_flags, readonly),
        );
    }
    word
}

/// Stores the word that [`load`] returns.
#[inline]
fn store<const OFFSET: usize>(value: *const ()) {
    // SAFETY: as above.
    unsafe {
        asm!(
            "mov {place}, qword ptr [rip + busy_gil_account@GOTTPOFF]",
            "mov qword ptr fs:[{place} + {offset}], {value}",
            place = out(reg) _,
            value = in(reg) value,
            offset = const OFFSET,
            options(nostack, preserves_flags),
        );
    }
}

/// Returns the pointer that [`set_word`] stored last in this thread, or null.
#[inline]
pub(super) fn word() -> *const () {
    load::<0>()
}

/// Stores a pointer for the calling thread.
#[inline]
pub(super) fn set_word(value: *const ()) {
    store::<0>(value);
}

/// Returns the address of the thread's control block. It identifies a live thread, and needs no system call.
#[inline]
pub(super) fn identity() -> usize {
    let identity: usize;
    // SAFETY: the first word of the block is its own address (ELF Handling For TLS, 3.4.6).
    unsafe { asm!("mov {}, qword ptr fs:[0]", out(reg) identity, options(nostack, preserves_flags, pure, readonly)) };
    identity
}

/// Returns the thread's serial number in this process, from 1 on, which no other thread gets. The identity of a thread that
/// has ended is soon that of another one.
pub(super) fn serial() -> usize {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let known = load::<8>().addr();
    if known != 0 {
        return known;
    }
    let serial = LAST.fetch_add(1, Relaxed) + 1;
    store::<8>(without_provenance(serial));
    serial
}

/// Returns the thread's id, as gettid(2) does.
pub(super) fn tid() -> u32 {
    // Not by libc: its gettid came with glibc 2.30, so an older one could not load the library.
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}
