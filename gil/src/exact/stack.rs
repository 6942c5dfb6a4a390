//! Did `PyEval_SaveThread` call? Told by the return addresses on the stack of a hook: between it and PyEval_SaveThread lie
//! the same frames each time, so they stand at the same places.

use super::got::Span;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How far up the call of PyEval_SaveThread is looked for, in words.
const DEPTH: usize = 96;
/// More return addresses do not lie between.
const MOST: usize = 8;

/// Places on the stack, and what stands there if PyEval_SaveThread called; the first has place 0. No places: unknown.
static PLACES: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];
static WORDS: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Learns what the stack looks like, from inside such a call: every word up to the return into `save_thread` that is an
/// address in `text`. The stack must have been clean before (see [`scrubbed`]), or remains of other calls would be learnt.
///
/// # Safety
/// `stack` is the stack pointer at a hook's entry, called by PyEval_SaveThread, which was called from Rust.
pub(super) unsafe fn learn(stack: *const usize, text: &Span, save_thread: &Span) {
    let mut found = 0;
    let mut known = false;
    for place in 0..DEPTH {
        // SAFETY: the frames of the callers; ours alone (`scrubbed`) are larger than DEPTH words.
        let word = unsafe { stack.add(place).read() };
        if text.contains(word) && found < MOST {
            PLACES[found].store(place, Ordering::Relaxed);
            WORDS[found].store(word, Ordering::Relaxed);
            found += 1;
            if save_thread.contains(word) {
                known = true;
                break;
            }
        }
    }
    COUNT.store(if known { found } else { 0 }, Ordering::Relaxed);
}

/// True if PyEval_SaveThread was recognised when calibrating.
pub(super) fn is_known() -> bool {
    COUNT.load(Ordering::Relaxed) != 0
}

/// True if PyEval_SaveThread called.
///
/// # Safety
/// `stack` is the stack pointer at a hook's entry.
#[inline]
pub(super) unsafe fn is_save_thread(stack: *const usize) -> bool {
    let count = COUNT.load(Ordering::Relaxed);
    count != 0
        && (0..count).all(|index| {
            let place = PLACES[index].load(Ordering::Relaxed);
            // SAFETY: place 0 is the return address. Each further one is looked at only if the one before was that of the
            // same call, whose frame reaches up to it.
            unsafe { stack.add(place).read() == WORDS[index].load(Ordering::Relaxed) }
        })
}

/// Runs `body` above a stretch of stack that holds nothing but zeros.
#[inline(never)]
pub(super) fn scrubbed<T>(body: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn scrub() {
        let mut words = [0usize; 2048];
        std::hint::black_box(&mut words);
    }
    // What the callers above are is looked at too where PyEval_SaveThread isn't found: this is room for it.
    let mut room = [0usize; DEPTH];
    std::hint::black_box(&mut room);
    scrub();
    let result = body();
    std::hint::black_box(&mut room);
    result
}
