//! Recognises calls that come from `PyEval_SaveThread`, by the return addresses on the stack of a hook. The frames
//! between the hook and PyEval_SaveThread are the same each time, so the return addresses are always at the same places
//! on the stack.

use super::got::Span;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of stack words that are searched for the call of PyEval_SaveThread.
const DEPTH: usize = 96;

/// The return address of a hook called by PyEval_SaveThread; 0 if unknown.
static HOOK: AtomicUsize = AtomicUsize::new(0);
/// The return address into PyEval_SaveThread, and its place on the stack in words: 0 if it is the hook's own return
/// address.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static PLACE: AtomicUsize = AtomicUsize::new(0);

/// Records the addresses and their place, from inside a call by PyEval_SaveThread. The stack must have been cleared
/// before (see [`scrubbed`]); otherwise the remains of other calls could be recorded instead.
///
/// # Safety
/// `stack` is the stack pointer at a hook's entry, called by PyEval_SaveThread, which was called from Rust.
pub(super) unsafe fn learn(stack: *const usize, save_thread: &Span) {
    // SAFETY: the words belong to the frames of the callers. The frame of `scrubbed` alone is larger than DEPTH words.
    let word = |place: usize| unsafe { stack.add(place).read() };
    // SAFETY: the address is inside a function, and the bytes before it belong to the same object.
    let is_inside = |word: usize| save_thread.contains(word) && unsafe { follows_call(word) };
    let place = (0..DEPTH).find(|place| is_inside(word(*place)));
    HOOK.store(place.map_or(0, |_| word(0)), Ordering::Relaxed);
    INSIDE.store(place.map_or(0, word), Ordering::Relaxed);
    PLACE.store(place.unwrap_or(0), Ordering::Relaxed);
}

/// Returns true if the instruction before `address` is a call. A saved register may contain a function's address, which
/// is not a return address.
///
/// # Safety
/// The six bytes before `address` are mapped.
unsafe fn follows_call(address: usize) -> bool {
    // SAFETY: the caller guarantees that these bytes are mapped.
    let before = unsafe { ((address - 6) as *const [u8; 6]).read() };
    // call rel32; call [rip + disp32]; call r64 (Intel SDM vol. 2A, "CALL").
    before[1] == 0xe8 || before[..2] == [0xff, 0x15] || (before[4] == 0xff && before[5] & 0xf8 == 0xd0)
}

/// Returns true if PyEval_SaveThread was recognised during calibration.
pub(super) fn is_known() -> bool {
    HOOK.load(Ordering::Relaxed) != 0
}

/// Returns true if the call came from PyEval_SaveThread.
///
/// # Safety
/// `stack` is the stack pointer at a hook's entry.
#[inline]
pub(super) unsafe fn is_save_thread(stack: *const usize) -> bool {
    // SAFETY: the first word is the return address. If it is the same as during calibration, the frames of the callers
    // are at least as large as then, so the second word is inside them.
    unsafe {
        stack.read() == HOOK.load(Ordering::Relaxed)
            && stack.add(PLACE.load(Ordering::Relaxed)).read() == INSIDE.load(Ordering::Relaxed)
    }
}

/// Runs `body` on a part of the stack that contains only zeros.
#[inline(never)]
pub(super) fn scrubbed<T>(body: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn scrub() {
        let mut words = [0usize; 2048];
        std::hint::black_box(&mut words);
    }
    // If PyEval_SaveThread isn't found, the search continues into the frames of the callers. This array ensures that
    // they are large enough.
    let mut room = [0usize; DEPTH];
    std::hint::black_box(&mut room);
    scrub();
    let result = body();
    std::hint::black_box(&mut room);
    result
}
