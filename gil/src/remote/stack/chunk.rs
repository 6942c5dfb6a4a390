//! The data stack of a thread, from 3.11 on: a list of chunks in which the frames lie one behind the other
//! (`_PyThreadState_PushFrame` in Python/pystate.c). A chunk is read at once, so that most frames cost no system call.

use super::super::error::RemoteError;
use super::super::target::Target;

/// The chunk that was read last.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    start: u64,
    memory: Vec<u8>,
    /// The chunk below it.
    below: Option<Header>,
    /// The number of chunks read for this stack.
    count: usize,
}

/// The beginning of struct _stack_chunk (Include/cpython/pystate.h).
#[derive(Debug, Clone, Copy)]
struct Header {
    address: u64,
    /// The end of the chunk.
    end: u64,
}

impl Chunks {
    const HEADER: u64 = 24;
    /// The maximum number of bytes read at once. A chunk has 16 kB, or more if a single frame is larger.
    const LARGEST: u64 = 1 << 20;
    /// The maximum number of chunks of a stack. A cycle would otherwise be followed forever.
    const MOST: usize = 4096;

    /// Reads the current chunk of a thread, up to `top`.
    pub fn begin(&mut self, target: &Target, chunk: u64, top: u64) -> Result<(), RemoteError> {
        self.memory.clear();
        self.below = None;
        self.count = 0;
        // A thread has no chunk before its first frame.
        if chunk != 0 {
            self.read(target, chunk, top)?;
        }
        Ok(())
    }

    /// Fills `frame` with the memory at `address`. Returns false if it is not mapped.
    pub fn frame(&mut self, target: &Target, address: u64, frame: &mut [u8]) -> Result<bool, RemoteError> {
        loop {
            if let Some(memory) = self.find(address, frame.len()) {
                frame.copy_from_slice(memory);
                return Ok(true);
            }
            match self.below {
                Some(below) if (below.address..below.end).contains(&address) && self.count < Self::MOST => {
                    self.read(target, below.address, below.end)?;
                }
                // The frame of a generator lies in the generator, and an entry frame on the C stack.
                _ => return target.read(address, frame),
            }
        }
    }

    /// Returns true if both frames lie in the chunk that was read last.
    pub fn contains_both(&self, frames: [u64; 2]) -> bool {
        frames.iter().all(|frame| self.find(*frame, 1).is_some())
    }

    fn find(&self, address: u64, size: usize) -> Option<&[u8]> {
        let offset = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.memory.get(offset..offset.checked_add(size)?)
    }

    /// Reads the chunk at `address` up to `end`, and the header of the chunk below it.
    fn read(&mut self, target: &Target, address: u64, end: u64) -> Result<(), RemoteError> {
        let size = end.saturating_sub(address).clamp(Self::HEADER, Self::LARGEST);
        self.memory.resize(size as usize, 0);
        self.start = address;
        self.count += 1;
        self.below = None;
        if !target.read(address, &mut self.memory)? {
            self.memory.clear();
            return Ok(());
        }
        let previous = self.memory.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let mut header = [0; Self::HEADER as usize];
        if previous != 0 && target.read(previous, &mut header)? {
            let size = u64::from_le_bytes(*header[8..].first_chunk().expect("three words"));
            self.below = Some(Header { address: previous, end: previous.saturating_add(size) });
        }
        Ok(())
    }
}
