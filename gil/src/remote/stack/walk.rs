//! Follows the frames of a thread, from the innermost to the outermost one.

use super::super::error::RemoteError;
use super::super::target::Target;
use super::chunk::Chunks;
use super::error::{StackError, plausible, torn};
use super::gather::gather;
use super::layout::{FrameKind, FrameLayout, Layout, word};
use super::thread_words::ThreadWords;

/// The maximum number of frames that a stack has; the outer ones are counted. Python's default recursion limit is 1000.
pub(super) const MOST_FRAMES: usize = 1024;
/// The maximum number of frames that are followed.
const MOST_FOLLOWED: usize = 1 << 16;

/// A frame as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RawFrame {
    pub address: u64,
    /// Its caller's frame, or 0.
    pub previous: u64,
    /// The address of its code object.
    pub code: u64,
    /// `f_lasti`, in bytes; from 3.11 on, the address of the instruction.
    pub instruction: u64,
    /// A generator's frame. Up to 3.10, only its code object shows that (`Code::is_generator`).
    pub is_generator: bool,
}

/// What a walk found besides the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walked {
    /// The number of frames beyond [`MOST_FRAMES`].
    pub cut: usize,
    /// The address of the outermost frame, or 0 without frames.
    pub root: u64,
    /// True if the frames begin with the one that was executed before the newest.
    pub is_before: bool,
}

/// Reads the frames of a thread into `frames`.
///
/// In 3.11 and 3.12, a thread that enters the eval loop makes its newest `cframe` the current one before that has a
/// frame (`_PyEval_EvalFrameDefault` in Python/ceval.c). If it loses its CPU there, garbage stays in that place. The
/// frames then don't lead to the frame that was executed before, from which they are therefore followed. Debian's 3.11
/// stores the link from that `cframe` to the previous one just as late, so the frame found there may be wrong, too.
pub(super) fn walk(
    target: &Target,
    layout: &Layout,
    thread: &ThreadWords,
    chunks: &mut Chunks,
    frames: &mut Vec<RawFrame>,
) -> Result<Walked, StackError> {
    let found = follow(target, layout, thread, chunks, frames);
    let leads_to_entry = found.as_ref().is_ok_and(|(_, leads_to_entry)| *leads_to_entry);
    if thread.entry != 0 && !leads_to_entry {
        let before = ThreadWords { frame: thread.entry, ..*thread };
        let (found, _) = follow(target, layout, &before, chunks, frames)?;
        return Ok(Walked { is_before: true, ..found });
    }
    Ok(found?.0)
}

/// Reads the frames of a thread into `frames`. Also returns true if its entry is one of them.
fn follow(
    target: &Target,
    layout: &Layout,
    thread: &ThreadWords,
    chunks: &mut Chunks,
    frames: &mut Vec<RawFrame>,
) -> Result<(Walked, bool), StackError> {
    frames.clear();
    chunks.begin(target, thread.chunk, thread.top)?;
    let mut memory = [0; 128];
    let fields = layout.frame;
    let last = match fields.kind {
        FrameKind::Object { .. } => fields.instruction + 4,
        FrameKind::Interpreter { owner, .. } => (fields.instruction + 8).max(owner + 1),
    };
    let last = last.max(fields.previous + 8).max(fields.code + 8) as usize;
    let Some(memory) = memory.get_mut(..last) else { return torn("a frame of at most 128 bytes", last as u64) };
    let (mut counted, mut followed, mut root, mut leads_to_entry) = (0, 0, 0, false);
    let mut address = thread.frame;
    // Brent's algorithm: a cycle comes back to the frame at `anchor`, which moves on after 1, 2, 4, ... frames.
    let (mut anchor, mut steps, mut power) = (0, 0, 1);
    while address != 0 && followed < MOST_FOLLOWED {
        followed += 1;
        plausible(address, "the address of a frame")?;
        leads_to_entry |= address == thread.entry;
        if !chunks.frame(target, address, memory)? {
            return torn("a mapped frame", address);
        }
        let (previous, mut code) = (word(memory, fields.previous), word(memory, fields.code));
        let (instruction, is_generator, executes_python) = match fields.kind {
            FrameKind::Object { unit } => {
                let index = word(memory, fields.instruction) as u32;
                // -1 before the first instruction.
                let instruction = if index as i32 >= 0 { u64::from(index) * unit } else { 0 };
                (instruction, false, true)
            }
            FrameKind::Interpreter { owner, tag } => {
                // enum _frameowner in Include/internal/pycore_frame.h (3.14 on: pycore_interpframe_structs.h): a
                // thread, a generator, a frame object; from 3 on the interpreter or the C stack, which execute no
                // Python.
                let owner = memory[owner as usize];
                if owner > 4 {
                    return torn("the owner of a frame", owner.into());
                }
                code = address_of(code, tag);
                (word(memory, fields.instruction), owner == 1, owner < 3)
            }
        };
        // A frame is above its caller's.
        if previous >= address && chunks.contains_both([address, previous]) {
            return torn("a caller's frame below its callee's", previous);
        }
        if executes_python {
            plausible(code, "the address of a code object")?;
            counted += 1;
            if frames.len() < MOST_FRAMES {
                frames.push(RawFrame { address, previous, code, instruction, is_generator });
            }
        }
        (root, address) = (address, previous);
        if address == anchor && address != 0 {
            return torn("a frame that is not its own caller", address);
        }
        steps += 1;
        if steps == power {
            (anchor, steps, power) = (address, 0, power * 2);
        }
    }
    Ok((Walked { cut: counted - frames.len(), root, is_before: false }, leads_to_entry))
}

/// Reads the links of `frames` a second time, by one system call. Returns true if they are the same. Otherwise the
/// thread has moved meanwhile, even if its innermost frame has the same address again, which is common: functions that
/// are called one after the other get the same memory, and a generator is resumed in its own frame.
pub(super) fn are_unchanged(
    target: &Target,
    layout: &Layout,
    frames: &[RawFrame],
    (addresses, memory): (&mut Vec<u64>, &mut Vec<u8>),
) -> Result<bool, RemoteError> {
    let FrameLayout { previous, code, kind, .. } = layout.frame;
    let start = previous.min(code);
    let size = (previous.max(code) + 8 - start) as usize;
    let tag = if let FrameKind::Interpreter { tag, .. } = kind { tag } else { 0 };
    addresses.clear();
    addresses.extend(frames.iter().map(|frame| frame.address.wrapping_add(start)));
    if gather(target, addresses, size, memory)? < frames.len() {
        return Ok(false);
    }
    let is_unchanged = |(frame, memory): (&RawFrame, &[u8])| {
        let links = [word(memory, previous - start), address_of(word(memory, code - start), tag)];
        links == [frame.previous, frame.code]
    };
    Ok(frames.iter().zip(memory.chunks_exact(size)).all(is_unchanged))
}

/// Returns the address in a pointer that has other information in the bits `tag`.
fn address_of(pointer: u64, tag: u64) -> u64 {
    pointer & !tag
}

#[cfg(test)]
mod tests {
    use super::super::code::Codes;
    use super::super::table::by_table;
    use super::*;
    use std::time::{Duration, Instant};

    /// Returns random numbers; the same ones in every run.
    fn random() -> impl FnMut() -> u64 {
        let mut state = 1u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 16
        }
    }

    /// Memory that is full of small numbers, flags, and pointers into itself and anywhere.
    fn garbage(random: &mut impl FnMut() -> u64) -> Vec<u64> {
        let mut memory = vec![0u64; 1 << 14];
        let start = memory.as_ptr() as u64;
        let size = memory.len() as u64;
        for word in &mut memory {
            *word = match random() % 8 {
                0 => random() % 5,
                1 => random() << 8,
                2 => u64::MAX - random() % 1000,
                _ => start + random() % size * 8,
            };
        }
        memory
    }

    #[test]
    fn garbage_is_followed_in_bounds_and_without_a_panic() {
        let target = Target::open(std::process::id()).unwrap();
        let mut random = random();
        let (mut ends, mut torn_count) = (0, 0);
        let limit = Instant::now() + Duration::from_secs(60);
        for (major, minor) in [(2, 7), (3, 6), (3, 8), (3, 10), (3, 11), (3, 12)] {
            let layout = by_table(major, minor).unwrap();
            for _ in 0..20 {
                let memory = garbage(&mut random);
                let start = memory.as_ptr() as u64;
                let variables = start..start + memory.len() as u64 * 8;
                let mut codes = Codes::new(vec![variables]);
                let (mut chunks, mut frames) = (Chunks::default(), Vec::new());
                for _ in 0..200 {
                    let mut word = || memory[random() as usize % memory.len()];
                    let thread = ThreadWords {
                        frame: word(),
                        entry: word(),
                        chunk: word(),
                        top: word(),
                        ..ThreadWords::default()
                    };
                    match walk(&target, &layout, &thread, &mut chunks, &mut frames) {
                        Ok(_) => {
                            ends += 1;
                            assert!(codes.update(&target, &layout, &frames).is_err() || frames.is_empty());
                        }
                        Err(error) => {
                            assert!(error.is_torn(), "{error}");
                            torn_count += 1;
                        }
                    }
                    assert!(frames.len() <= MOST_FRAMES);
                }
            }
        }
        assert!(Instant::now() < limit);
        assert!(ends > 100 && torn_count > 100, "{ends} ended, {torn_count} were torn");
    }

    #[test]
    fn a_cycle_of_frames_is_found() {
        let target = Target::open(std::process::id()).unwrap();
        let layout = by_table(3, 8).unwrap();
        for length in [1usize, 2, 3, 100, 3000] {
            // Each frame has 16 words, and the last one has the frame at `back` as its caller.
            let mut memory = vec![0u64; length * 16];
            let start = memory.as_ptr() as u64;
            for index in 0..length {
                let caller = if index + 1 < length { index + 1 } else { length / 2 };
                memory[index * 16 + 3] = start + caller as u64 * 128;
                memory[index * 16 + 4] = start;
            }
            let thread = ThreadWords { frame: start, ..ThreadWords::default() };
            let mut frames = Vec::new();
            let found = walk(&target, &layout, &thread, &mut Chunks::default(), &mut frames);
            assert!(found.unwrap_err().is_torn());
            // Without the cycle, all frames are counted.
            memory[(length - 1) * 16 + 3] = 0;
            let walked = walk(&target, &layout, &thread, &mut Chunks::default(), &mut frames).unwrap();
            assert_eq!((frames.len() + walked.cut, frames.len()), (length, length.min(MOST_FRAMES)));
        }
    }

    #[test]
    fn a_changed_link_is_found_by_the_second_reading() {
        let target = Target::open(std::process::id()).unwrap();
        let layout = by_table(3, 8).unwrap();
        let mut memory = vec![0u64; 20 * 16];
        let start = memory.as_ptr() as u64;
        for index in 0..20 {
            memory[index * 16 + 3] = if index < 19 { start + (index as u64 + 1) * 128 } else { 0 };
            memory[index * 16 + 4] = start;
        }
        let thread = ThreadWords { frame: start, ..ThreadWords::default() };
        let mut frames = Vec::new();
        walk(&target, &layout, &thread, &mut Chunks::default(), &mut frames).unwrap();
        let (mut addresses, mut scratch) = (Vec::new(), Vec::new());
        let mut unchanged = || are_unchanged(&target, &layout, &frames, (&mut addresses, &mut scratch)).unwrap();
        assert!(unchanged());
        // f_lasti changes while a function is executed.
        memory[13] = 77;
        assert!(unchanged());
        for (word, other) in [(10 * 16 + 3, start), (19 * 16 + 4, start + 8)] {
            let before = std::mem::replace(&mut memory[word], other);
            assert!(!unchanged());
            memory[word] = before;
            assert!(unchanged());
        }
    }

    #[test]
    fn a_thread_that_enters_the_eval_loop_has_the_frames_before() {
        let target = Target::open(std::process::id()).unwrap();
        let layout = by_table(3, 11).unwrap();
        // Three frames of ten words: the new one, and the one before with its caller.
        let mut memory = [0u64; 32];
        let start = memory.as_ptr() as u64;
        let (new, before, caller) = (start, start + 80, start + 160);
        for frame in [0, 10, 20] {
            memory[frame + 4] = start + 240;
        }
        memory[10 + 6] = caller;
        let mut frames = Vec::new();
        for (frame, link, expected, is_before) in [
            // Not yet linked, and linked to garbage.
            (new, 0, [before, caller].as_slice(), true),
            (new, 77, &[before, caller], true),
            (0, 0, &[before, caller], true),
            // Linked.
            (new, before, &[new, before, caller], false),
            (before, 0, &[before, caller], false),
        ] {
            memory[6] = link;
            let thread = ThreadWords { frame, entry: before, ..ThreadWords::default() };
            let walked = walk(&target, &layout, &thread, &mut Chunks::default(), &mut frames).unwrap();
            assert_eq!(frames.iter().map(|frame| frame.address).collect::<Vec<_>>(), expected);
            assert_eq!(walked, Walked { cut: 0, root: caller, is_before });
        }
    }
}
