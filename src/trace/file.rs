//! The file of a recording: a mark, and one block after the other. It is only ever appended to, or replaced by a shorter one
//! (`shorten`), so whatever was written before a kill can be read.

use super::block::Block;
use std::io::{self, Read};
use std::path::PathBuf;

/// The bytes at the start of each file: a mark, and the version of the format.
pub const HEAD: [u8; 16] = *b"busy recording\x01\n";

/// The part of a block before its content: its kind, the length of the content, and a checksum.
const BLOCK_HEAD: usize = 9;
/// The largest content of a block, so that a damaged length can't exhaust the memory.
const LARGEST: usize = 1 << 24;

/// The reason why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("can't read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It begins otherwise.
    #[error("{0} is not a recording of this version of busy: expected the mark {mark:?} in its first bytes", mark = String::from_utf8_lossy(&HEAD[..14]))]
    NoRecording(PathBuf),
    /// It is empty but for the mark: the recorder was killed at its start.
    #[error("{0} is a recording that was killed before its first block: there is nothing to read")]
    Empty(PathBuf),
}

impl Block {
    /// Appends the block to `bytes`.
    pub fn append(&self, bytes: &mut Vec<u8>) {
        let (kind, content) = self.encode();
        bytes.push(kind);
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend(checksum(kind, &content).to_le_bytes());
        bytes.extend(content);
    }
}

/// The blocks of a file after [`HEAD`], up to the first one that is incomplete or damaged.
pub struct Blocks<R> {
    reader: R,
    /// The number of bytes of the block that is incomplete or damaged.
    bad: u64,
    error: Option<io::Error>,
}

impl<R: Read> Blocks<R> {
    /// Reads the blocks of what `reader` reads.
    pub fn new(reader: R) -> Self {
        Self { reader, bad: 0, error: None }
    }

    /// Returns the number of bytes that are left after the last block.
    ///
    /// # Errors
    /// That of the reader.
    pub fn rest(mut self) -> io::Result<u64> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.bad + io::copy(&mut self.reader, &mut io::sink())?),
        }
    }

    /// Reads up to `length` bytes.
    fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.error = self.reader.by_ref().take(length as u64).read_to_end(&mut bytes).err();
        self.bad += bytes.len() as u64;
        bytes
    }
}

impl<R: Read> Iterator for Blocks<R> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        // After a damaged block, nothing is read as one.
        if self.bad > 0 {
            return None;
        }
        let head = self.read(BLOCK_HEAD);
        let number = |from: usize| Some(u32::from_le_bytes(head.get(from..from + 4)?.try_into().ok()?));
        let (length, sum) = (number(1)?, number(5)?);
        let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST)?;
        let content = self.read(length);
        if content.len() < length || checksum(head[0], &content) != sum {
            return None;
        }
        let block = Block::decode(head[0], &content)?;
        self.bad = 0;
        Some(block)
    }
}

/// FNV-1a, 32 bits (draft-eastlake-fnv).
fn checksum(kind: u8, content: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    content.iter().fold(step(0x811c_9dc5, &kind), step)
}

#[cfg(test)]
mod tests {
    use super::super::block::{Thread, Totals};
    use super::super::event::Event;
    use super::*;
    use busy_gil::log::Kind;

    fn example() -> Vec<Block> {
        let events = vec![
            Event { kind: Kind::Acquired, at: 1_000_000 },
            Event { kind: Kind::Lost, at: 3 },
            Event { kind: Kind::Dropped, at: 6_000_123 },
            Event { kind: Kind::WaitBegan, at: 6_000_123 },
        ];
        let totals = Totals { held_ns: u64::MAX, acquisitions: 300, waits_since_ns: Some(0), ..Totals::default() };
        vec![
            Block::Thread(Thread {
                process: 1,
                row: 7,
                tid: 99,
                gil: 0,
                name: "caf\u{e9} \"x\"".into(),
                runs: None,
                ended_ns: None,
            }),
            Block::Events { process: 1, row: 7, events },
            Block::Totals { process: 1, row: u64::MAX, totals },
        ]
    }

    /// Returns the blocks, and the number of bytes that are left.
    fn blocks(bytes: &[u8]) -> (Vec<Block>, usize) {
        let mut blocks = Blocks::new(bytes);
        let found = blocks.by_ref().collect();
        (found, blocks.rest().unwrap() as usize)
    }

    fn bytes(blocks: &[Block]) -> Vec<u8> {
        let mut bytes = Vec::new();
        blocks.iter().for_each(|block| block.append(&mut bytes));
        bytes
    }

    #[test]
    fn blocks_are_read_as_they_were_written() {
        assert_eq!(blocks(&bytes(&example())), (example(), 0));
    }

    #[test]
    fn a_file_that_ends_anywhere_has_the_blocks_before_its_end() {
        let (all, example) = (bytes(&example()), example());
        for end in 0..all.len() {
            let (found, left) = blocks(&all[..end]);
            assert!(found.len() < example.len() && found == example[..found.len()], "{end}");
            assert_eq!(bytes(&found).len() + left, end);
        }
    }

    #[test]
    fn a_changed_byte_ends_the_recording_there_and_never_panics() {
        let all = bytes(&example());
        for place in 0..all.len() {
            for flip in [1u8, 0x80, 0xff] {
                let mut damaged = all.clone();
                damaged[place] ^= flip;
                let (found, _) = blocks(&damaged);
                assert!(found.len() < 3 && found == example()[..found.len()], "{place}");
            }
        }
    }
}
